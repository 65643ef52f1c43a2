"""Tool calls."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; arguments and reports are sealed bytes."""
    op.create_table(
        "tool_call",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "call_id",
            sa.String(length=200),
            nullable=False,
            comment="the name of the call in its run; a provider may repeat it in another run",
        ),
        sa.Column("run_id", sa.Uuid(), nullable=True, comment="the run that asked"),
        sa.Column("executing_run_id", sa.Uuid(), nullable=True, comment="the run that executes: after an approval, the one that continues"),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column(
            "tool",
            sa.String(length=64),
            nullable=True,
            comment="null when no tool has that name: it is then text a model wrote, and sealed with the arguments",
        ),
        sa.Column("effect", sa.String(length=16), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("arguments", sa.LargeBinary(), nullable=False, comment="sealed JSON"),
        sa.Column("report", sa.LargeBinary(), nullable=True, comment="sealed JSON: how it ended"),
        sa.Column("error_code", sa.String(length=80), nullable=True),
        sa.Column("schema_sha256", sa.String(length=64), nullable=True),
        sa.Column("policy_version", sa.String(length=64), nullable=True),
        sa.Column("approval_id", sa.Uuid(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=200), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('proposed', 'waiting', 'executing', 'ok', 'failed', 'denied', 'unknown')", name=op.f("ck_tool_call_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_call")),
    )
    op.create_index(
        "ix_tool_call_executing_run_id", "tool_call", ["executing_run_id"], unique=False, postgresql_where="state = 'executing'"
    )
    op.create_index("ix_tool_call_run_id", "tool_call", ["run_id"], unique=False, postgresql_where="run_id IS NOT NULL")
    op.create_index("uq_tool_call_approval_id", "tool_call", ["approval_id"], unique=True, postgresql_where="approval_id IS NOT NULL")
    op.create_index("uq_tool_call_idempotency_key", "tool_call", ["idempotency_key"], unique=True)
