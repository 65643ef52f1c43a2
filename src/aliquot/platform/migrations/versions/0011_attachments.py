"""attachments."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Files attached to messages."""
    op.create_table(
        "attachment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False, comment="storing, clean, not_scanned, quarantined, infected, deleted"),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="bytes of the file"),
        sa.Column("facts", sa.LargeBinary(), nullable=True, comment="sealed JSON; null once deleted"),
        sa.Column("extract_id", sa.Uuid(), nullable=True, comment="blob with the text, or with the image made for models"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("blobs_deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachment")),
    )
    op.create_index("ix_attachment_created_at", "attachment", ["created_at"])
    op.create_index("ix_attachment_owner_id", "attachment", ["owner_id"], postgresql_where=sa.text("deleted_at IS NULL"))
    op.create_table(
        "message_attachment",
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("attachment_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False, comment="place in the message, from 0"),
        sa.ForeignKeyConstraint(["attachment_id"], ["attachment.id"], name=op.f("fk_message_attachment_attachment_id")),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_message_attachment_message_id")),
        sa.PrimaryKeyConstraint("message_id", "attachment_id", name=op.f("pk_message_attachment")),
    )
    op.create_index("ix_message_attachment_attachment_id", "message_attachment", ["attachment_id"])
