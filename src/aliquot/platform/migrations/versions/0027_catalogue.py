"""Instruments have settings; instruments and protocols can be retired."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    empty = sa.text("'{}'")
    op.add_column("instrument", sa.Column("settings", postgresql.JSONB(), server_default=empty, nullable=False))
    op.add_column("instrument", sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True))
    op.create_check_constraint("retired", "instrument", "retired_at IS NULL OR state = 'offline'")
    op.add_column("protocol", sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True))
