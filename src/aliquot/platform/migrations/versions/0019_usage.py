"""Counts of requests, load of processes, and indexes for statistics of runs and tool calls."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Counts only."""
    op.create_table(
        "request_count",
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="all, chat, failed, limited"),
        sa.Column(
            "route", sa.String(length=160), nullable=False, comment="method and template of what was limited; empty for the other kinds"
        ),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("minute", "kind", "route", name=op.f("pk_request_count")),
    )
    op.create_table(
        "process_load",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open_streams", sa.Integer(), nullable=False),
        sa.Column("open_sockets", sa.Integer(), nullable=False),
        sa.Column("active_runs", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process_load")),
    )
    op.create_index("ix_run_created_at", "run", ["created_at"])
    op.create_index("ix_tool_call_created_at", "tool_call", ["created_at"])
