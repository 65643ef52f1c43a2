"""Plans are kept with their conversations; what was accepted of an external tool is not forgotten."""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_OVER = {
    "plan": "aliquot_conversation_over(OLD.conversation_id)",
    "plan_step": "aliquot_conversation_over((SELECT p.conversation_id FROM plan p WHERE p.id = OLD.plan_id))",
}


def upgrade() -> None:
    """As migration 0016 does it for what else hangs on conversations."""
    for table, over in _OVER.items():
        op.execute(
            f"CREATE FUNCTION aliquot_keep_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF ({over}) IS TRUE THEN RETURN OLD; END IF; "
            "RAISE EXCEPTION '% must be kept: DELETE refused', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        op.execute(f"CREATE TRIGGER keep BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION aliquot_keep_{table}()")
        op.execute(f"CREATE TRIGGER keep_all BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION aliquot_append_only()")
    op.execute("CREATE TRIGGER refuse_delete BEFORE DELETE ON mcp_tool FOR EACH ROW EXECUTE FUNCTION aliquot_append_only()")
    op.execute("CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON mcp_tool FOR EACH STATEMENT EXECUTE FUNCTION aliquot_append_only()")
