"""Plans of several steps; how many calls an approval is about."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("policy_approval", sa.Column("calls", sa.Integer(), server_default="1", nullable=False))
    op.create_table(
        "plan",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False, comment="the run that made it"),
        sa.Column("run_step", sa.Integer(), nullable=False, comment="the step of that run"),
        sa.Column("current_run_id", sa.Uuid(), nullable=False, comment="the run that drives it, or waits for it; no other may"),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=True),
        sa.Column("whole_id", sa.Uuid(), nullable=True, comment="the approval of the whole"),
        sa.Column("approval_id", sa.Uuid(), nullable=True, comment="the approval it waits for"),
        sa.Column("tainted", sa.Boolean(), nullable=False),
        sa.Column("stop_by", sa.Uuid(), nullable=True, comment="who stopped it"),
        sa.Column("created_at", _AT, nullable=False),
        sa.Column("ended_at", _AT, nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'running', 'paused', 'failed', 'stopped', 'done')", name="ck_plan_state"),
        sa.CheckConstraint("mode IN ('whole', 'steps')", name="ck_plan_mode"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name="fk_plan_conversation_id"),
        sa.PrimaryKeyConstraint("id", name="pk_plan"),
    )
    op.create_index("uq_plan_run_id", "plan", ["run_id", "run_step"], unique=True)
    op.create_index("ix_plan_person_id", "plan", ["person_id", "id"])
    op.create_index("ix_plan_conversation_id", "plan", ["conversation_id"])
    op.create_index("ix_plan_current_run_id", "plan", ["current_run_id"])
    op.create_index("uq_plan_approval_id", "plan", ["approval_id"], unique=True, postgresql_where=sa.text("approval_id IS NOT NULL"))
    _steps()


def _steps() -> None:
    op.create_table(
        "plan_step",
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False, comment="from 0"),
        sa.Column("tool", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="from 1; another one is another call"),
        sa.Column("approval_id", sa.Uuid(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True, comment="the run that began it"),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="sealed JSON: arguments, preview, decision"),
        sa.Column("outcome", sa.LargeBinary(), nullable=True, comment="sealed: how it ended"),
        sa.CheckConstraint("state IN ('waiting', 'current', 'ok', 'failed', 'denied', 'unknown', 'skipped')", name="ck_plan_step_state"),
        sa.ForeignKeyConstraint(["plan_id"], ["plan.id"], name="fk_plan_step_plan_id"),
        sa.PrimaryKeyConstraint("plan_id", "n", name="pk_plan_step"),
    )
