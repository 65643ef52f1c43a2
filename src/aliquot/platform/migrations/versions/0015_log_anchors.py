"""What others say of the log (cosignatures, time stamps), rotations of its key, and triggers that hold longer.

Triggers are `ENABLE ALWAYS`: `session_replication_role = replica`, with which a superuser used to pass them in silence, does not switch
them off any more. Who owns a table can still drop its trigger; only what lies outside the database shows that.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_NEW = ("audit_key", "audit_cosignature", "audit_timestamp")
_ALL = ("audit_event", "audit_log", "audit_node", "audit_state", *_NEW)

# The row of the log's state may only move on. Its owner may renumber transactions after a logical restore (migration 0001).
_FORWARD = """
CREATE FUNCTION aliquot_log_moves_on() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.size < OLD.size OR (NEW.size = OLD.size AND (NEW.root_hash, NEW.note) IS DISTINCT FROM (OLD.root_hash, OLD.note)) THEN
    RAISE EXCEPTION 'the log only grows: from % to % events refused', OLD.size, NEW.size USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$
"""


def upgrade() -> None:
    op.create_table(
        "audit_key",
        sa.Column("event_id", sa.Uuid, primary_key=True),
        sa.Column("old_vkey", sa.Text, nullable=False),
        sa.Column("new_vkey", sa.Text, nullable=False),
        sa.Column("statement", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "audit_cosignature",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("witness", sa.Text, primary_key=True),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "audit_timestamp",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("token", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("octet_length(token) <= 65536", name="token_size"),
    )
    for table in _NEW:
        op.execute(f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION aliquot_append_only()")
        op.execute(f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION aliquot_append_only()")
    op.execute(_FORWARD)
    op.execute("CREATE TRIGGER moves_on BEFORE UPDATE ON audit_state FOR EACH ROW EXECUTE FUNCTION aliquot_log_moves_on()")
    for table in _ALL:
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER refuse_change")
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER refuse_truncate")
    op.execute("ALTER TABLE audit_state ENABLE ALWAYS TRIGGER moves_on")


def downgrade() -> None:
    """Aliquot never goes back: a back-up does."""
