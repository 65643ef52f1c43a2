"""Exports sent by e-mail."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Recipient and options are sealed."""
    op.create_table(
        "export_delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("via", sa.String(length=16), nullable=False),
        sa.Column("wanted", sa.LargeBinary(), nullable=False, comment="sealed JSON: recipient and options"),
        sa.Column("state", sa.String(length=16), nullable=False, comment="queued, sending, sent, failed, unknown"),
        sa.Column("error_code", sa.String(length=80), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export_delivery")),
    )
    op.create_index("ix_export_delivery_conversation", "export_delivery", ["conversation_id", "person_id", "created_at"], unique=False)
