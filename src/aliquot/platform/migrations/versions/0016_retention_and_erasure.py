"""retention and erasure."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_AT = sa.DateTime(timezone=True)

# Years of keeping are counted as 365.25 days; null is for ever.
_DEFAULTS = {"conversation": 0, "instrument_run": 3_653, "approval": 3_653, "signature": None, "audit_event": None}

# Whether a record of this kind may be deleted now: its time is over and nothing holds it.
_ALLOWS = """
CREATE FUNCTION aliquot_retention_over(of_kind text, since_at timestamptz, made timestamptz, person uuid, conversation uuid)
RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT 1 FROM retention_schedule s WHERE s.kind = of_kind AND since_at + make_interval(days => s.keep_days) <= now())
    AND NOT EXISTS (
      SELECT 1 FROM legal_hold h WHERE h.released_at IS NULL AND (
        h.person_id = person OR h.conversation_id = conversation
        OR (h.kind = of_kind AND (h.since IS NULL OR made >= h.since) AND (h.until IS NULL OR made < h.until))))
$$
"""

_CONVERSATION = """
CREATE FUNCTION aliquot_conversation_over(which uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT c.deleted_at IS NOT NULL
    AND aliquot_retention_over('conversation', coalesce(c.last_message_at, c.created_at), c.created_at, c.owner_id, c.id)
    AND NOT EXISTS (SELECT 1 FROM message m JOIN legal_hold h ON h.person_id = m.author_id
                    WHERE m.conversation_id = c.id AND h.released_at IS NULL)
    AND NOT EXISTS (SELECT 1 FROM record_signature s WHERE s.record_type = 'conversation' AND s.record_id = c.id::text)
  FROM conversation c WHERE c.id = which
$$
"""

_APPROVAL = """
CREATE FUNCTION aliquot_approval_over(which uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT a.state NOT IN ('pending', 'approved', 'executing', 'unknown')
    AND aliquot_retention_over('approval', a.created_at, a.created_at, a.requester_id, NULL)
    AND NOT EXISTS (SELECT 1 FROM legal_hold h WHERE h.person_id = a.decided_by AND h.released_at IS NULL)
  FROM policy_approval a WHERE a.id = which
$$
"""

_INSTRUMENT_RUN = """
CREATE FUNCTION aliquot_instrument_run_over(which uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT aliquot_retention_over('instrument_run', r.ended_at, r.started_at, r.operator_id, NULL)
    AND NOT EXISTS (SELECT 1 FROM record_signature s WHERE s.record_type = 'instrument_run' AND s.record_id = r.code)
  FROM instrument_run r WHERE r.id = which
$$
"""

_OVER = {
    "conversation": "aliquot_conversation_over(OLD.id)",
    "message": "aliquot_conversation_over(OLD.conversation_id)",
    "run": "aliquot_conversation_over(OLD.conversation_id)",
    "tool_call": "aliquot_conversation_over((SELECT r.conversation_id FROM run r WHERE r.id = OLD.run_id))",
    "policy_approval": "aliquot_approval_over(OLD.id)",
    "instrument_run": "aliquot_instrument_run_over(OLD.id)",
}


def upgrade() -> None:
    _erasure()
    _retention()
    _access()
    _guards()


def _erasure() -> None:
    op.create_table(
        "erasure",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=False),
        sa.Column("ordered_by", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=False),
        sa.Column("ordered_at", _AT, nullable=False),
        sa.Column("order_event_id", sa.Uuid(), nullable=False),
        sa.Column("done_at", _AT),
        sa.Column("event_id", sa.Uuid()),
        sa.Column("removed", postgresql.JSONB()),
        sa.PrimaryKeyConstraint("id", name="pk_erasure"),
        sa.UniqueConstraint("subject", name="uq_erasure_subject"),
    )


def _retention() -> None:
    schedule = op.create_table(
        "retention_schedule",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("keep_days", sa.Integer()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", _AT),
        sa.Column("changed_by", sa.Uuid()),
        sa.CheckConstraint("keep_days >= 0", name="ck_retention_schedule_keep_days"),
        sa.PrimaryKeyConstraint("kind", name="pk_retention_schedule"),
    )
    op.bulk_insert(schedule, [{"kind": kind, "keep_days": days, "version": 1} for kind, days in _DEFAULTS.items()])
    op.create_table(
        "legal_hold",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid()),
        sa.Column("conversation_id", sa.Uuid()),
        sa.Column("kind", sa.Text()),
        sa.Column("since", _AT),
        sa.Column("until", _AT),
        sa.Column("reason", sa.LargeBinary(), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=False),
        sa.Column("made_at", _AT, nullable=False),
        sa.Column("released_by", sa.Uuid()),
        sa.Column("released_at", _AT),
        sa.Column("release_reason", sa.LargeBinary()),
        sa.CheckConstraint("num_nonnulls(person_id, conversation_id, kind) = 1", name="ck_legal_hold_one_target"),
        sa.PrimaryKeyConstraint("id", name="pk_legal_hold"),
    )
    op.create_index(
        "ix_legal_hold_standing", "legal_hold", ["person_id", "conversation_id"], postgresql_where=sa.text("released_at IS NULL")
    )


def _access() -> None:
    op.create_table(
        "break_glass",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=False),
        sa.Column("granted_at", _AT, nullable=False),
        sa.Column("expires_at", _AT, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("verdict", sa.Text()),
        sa.Column("note", sa.LargeBinary()),
        sa.Column("reviewed_by", sa.Uuid()),
        sa.Column("reviewed_at", _AT),
        sa.CheckConstraint("verdict IN ('justified', 'unjustified')", name="ck_break_glass_verdict"),
        sa.PrimaryKeyConstraint("id", name="pk_break_glass"),
    )
    op.create_index("ix_break_glass_person_id", "break_glass", ["person_id", "conversation_id", "expires_at"])
    op.create_table(
        "patient_read",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("at", _AT, nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("conversation_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("message_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("subjects", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_patient_read"),
    )
    op.create_index("ix_patient_read_person_id", "patient_read", ["person_id", "event_id"])
    op.create_index("ix_patient_read_subjects", "patient_read", ["subjects"], postgresql_using="gin")
    op.execute("CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON patient_read FOR EACH ROW EXECUTE FUNCTION aliquot_append_only()")
    op.execute("CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON patient_read FOR EACH STATEMENT EXECUTE FUNCTION aliquot_append_only()")


def _guards() -> None:
    """Nothing is deleted before its time, whoever asks: the database computes it itself."""
    for function in (_ALLOWS, _CONVERSATION, _APPROVAL, _INSTRUMENT_RUN):
        op.execute(function)
    for table, over in _OVER.items():
        op.execute(
            f"CREATE FUNCTION aliquot_keep_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF ({over}) IS TRUE THEN RETURN OLD; END IF; "
            "RAISE EXCEPTION '% must be kept: DELETE refused', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        op.execute(f"CREATE TRIGGER keep BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION aliquot_keep_{table}()")
        op.execute(f"CREATE TRIGGER keep_all BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION aliquot_append_only()")
    for table in ("retention_schedule", "erasure", "legal_hold", "break_glass"):
        op.execute(f"CREATE TRIGGER refuse_delete BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION aliquot_append_only()")
        op.execute(f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION aliquot_append_only()")
