"""Files of messages are kept by legal holds."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A file that no message names (abandoned, or unbound because its messages are purged, which has its own trigger) is not held."""
    op.execute(
        "CREATE FUNCTION aliquot_keep_attachment() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF EXISTS (SELECT FROM message_attachment b JOIN message m ON m.id = b.message_id, legal_hold h "
        "WHERE b.attachment_id = OLD.id AND h.released_at IS NULL AND (h.person_id = OLD.owner_id "
        "OR h.conversation_id = m.conversation_id OR (h.kind = 'conversation' AND (h.since IS NULL OR OLD.created_at >= h.since) "
        "AND (h.until IS NULL OR OLD.created_at < h.until)))) THEN "
        "RAISE EXCEPTION 'attachment must be kept: deletion refused' USING ERRCODE = 'integrity_constraint_violation'; END IF; "
        "RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER keep BEFORE UPDATE ON attachment FOR EACH ROW "
        "WHEN (NEW.state = 'deleted' AND OLD.state <> 'deleted') EXECUTE FUNCTION aliquot_keep_attachment()"
    )
