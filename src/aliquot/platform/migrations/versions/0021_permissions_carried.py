"""Permissions that copies and imports carry with them; the title a share was made with."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "conversation",
        sa.Column(
            "permissions_carried",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="used where its messages come from; its own runs add theirs",
        ),
    )
    op.add_column("conversation_share", sa.Column("title", sa.LargeBinary(), nullable=True, comment="sealed; at the moment of sharing"))
