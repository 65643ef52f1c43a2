"""Tables of `ledger`: the events, the log the sequencer makes of them, and the triggers that refuse every change."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_APPEND_ONLY = ("audit_event", "audit_log", "audit_node")


# `audit_event.tx` holds numbers that one database cluster counts. After a logical restore into another cluster they start anew:
# the owner calls this (`aliquot db upgrade`), and new events get numbers above all old ones. ALTER TABLE waits for every
# transaction that wrote an event, so none keeps a number of the old kind.
_REBASE = """
CREATE FUNCTION aliquot_ledger_rebase() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE here bigint; top bigint; waiting bigint[];
BEGIN
  SELECT system_identifier INTO here FROM pg_control_system();
  IF (SELECT cluster FROM audit_state) = here THEN RETURN false; END IF;
  LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE;
  SELECT coalesce(max(tx), 0) INTO top FROM audit_event;
  SELECT coalesce(array_agg(DISTINCT e.tx), '{}') INTO waiting FROM audit_event AS e
    WHERE NOT EXISTS (SELECT FROM audit_log AS l WHERE l.event_id = e.id);
  UPDATE audit_state SET cluster = here, tx_offset = top, seen_xmax = top + 1, seen_running = waiting;
  EXECUTE format('ALTER TABLE audit_event ALTER COLUMN tx SET DEFAULT ((pg_current_xact_id())::text)::bigint + %s', top);
  RETURN true;
END $$
"""


def upgrade() -> None:
    _events()
    _log()
    op.execute(
        "INSERT INTO audit_state (id, size, root_hash, seen_xmax, seen_running, cluster, tx_offset) "
        "SELECT 1, 0, sha256(''), 0, '{}', system_identifier, 0 FROM pg_control_system()"
    )
    _guards()
    op.execute(_REBASE)


def downgrade() -> None:
    """Aliquot never goes back: a back-up does."""


def _events() -> None:
    op.create_table(
        "audit_event",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("record_type", sa.Text, nullable=False),
        sa.Column("record_id", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("tx", sa.BigInteger, nullable=False, server_default=sa.text("((pg_current_xact_id())::text)::bigint")),
        sa.CheckConstraint("octet_length(body) <= 32768", name="body_size"),
    )
    op.create_index("ix_audit_event_tx", "audit_event", ["tx"])
    op.create_index("ix_audit_event_at", "audit_event", ["at"])
    op.create_index("ix_audit_event_actor", "audit_event", ["actor", "at"])
    op.create_index("ix_audit_event_action", "audit_event", ["action", "at"])
    op.create_index("ix_audit_event_record", "audit_event", ["record_id", "record_type"])


def _log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("event_id", name="uq_audit_log_event_id"),
    )
    op.create_table(
        "audit_node",
        sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("n", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "audit_state",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("root_hash", sa.LargeBinary, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("signed_at", sa.DateTime(timezone=True)),
        sa.Column("seen_xmax", sa.BigInteger, nullable=False),
        sa.Column("seen_running", ARRAY(sa.BigInteger), nullable=False),
        sa.Column("cluster", sa.BigInteger, nullable=False),
        sa.Column("tx_offset", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name="single"),
    )


def _guards() -> None:
    """Refuse UPDATE, DELETE and TRUNCATE for everybody. The owner can drop a trigger: only a checkpoint kept outside shows that."""
    op.execute(
        "CREATE FUNCTION aliquot_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege'; END $$"
    )
    for table in _APPEND_ONLY:
        op.execute(f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION aliquot_append_only()")
        op.execute(f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION aliquot_append_only()")
    op.execute("CREATE TRIGGER refuse_change BEFORE DELETE ON audit_state FOR EACH ROW EXECUTE FUNCTION aliquot_append_only()")
    op.execute("CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON audit_state FOR EACH STATEMENT EXECUTE FUNCTION aliquot_append_only()")
