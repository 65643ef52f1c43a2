"""Definitions of the tools of external MCP servers."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mcp_tool",
        sa.Column("server", sa.String(length=20), nullable=False),
        sa.Column("tool", sa.String(length=128), nullable=False, comment="as the server calls it"),
        sa.Column("sha256", sa.String(length=64), comment="of the accepted definition; null until there is one"),
        sa.Column("definition", sa.Text(), comment="canonical JSON: name, description, inputSchema"),
        sa.Column("pinned_at", sa.DateTime(timezone=True)),
        sa.Column("accepted_by", sa.Uuid(), comment="null: first sight, or the settings"),
        sa.Column("offered_sha256", sa.String(length=64), comment="another definition the server shows now: the tool is disabled"),
        sa.Column("offered", sa.Text()),
        sa.Column("offered_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("server", "tool", name="pk_mcp_tool"),
    )
