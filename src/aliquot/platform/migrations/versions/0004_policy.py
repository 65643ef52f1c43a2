"""Tables of `policy`."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATES = "'pending', 'approved', 'executing', 'done', 'failed', 'unknown', 'rejected', 'withdrawn', 'expired'"


def upgrade() -> None:
    _decisions()
    _approvals()
    for table in ("policy_decision", "policy_execution"):
        op.execute(f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION aliquot_append_only()")
        op.execute(f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION aliquot_append_only()")


def downgrade() -> None:
    """Aliquot never goes back: a back-up does."""


def _decisions() -> None:
    op.create_table(
        "policy_decision",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("reasons", JSONB, nullable=False),
        sa.Column("risk", sa.SmallInteger, nullable=False),
        sa.Column("obligations", ARRAY(sa.Text), nullable=False),
        sa.Column("policy_version", sa.Text, nullable=False),
        sa.Column("input_sha256", sa.Text, nullable=False),
        sa.Column("took_us", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Uuid),
        sa.CheckConstraint("decision IN ('allow', 'deny', 'confirm')", name="decision"),
    )
    op.create_index("ix_policy_decision_user_id_id", "policy_decision", ["user_id", "id"])


def _approvals() -> None:
    op.create_table(
        "policy_approval",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("requester_id", sa.Uuid, nullable=False),
        sa.Column("run_id", sa.Uuid),
        sa.Column("next_run_id", sa.Uuid),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("tool", sa.Text, nullable=False),
        sa.Column("other_person", sa.Boolean, nullable=False),
        sa.Column("binding_sha256", sa.Text, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Uuid),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("verdict", sa.LargeBinary),
        sa.Column("executing_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("failure", sa.Text),
        sa.UniqueConstraint("next_run_id", name="uq_policy_approval_next_run_id"),
        sa.CheckConstraint(f"state IN ({_STATES})", name="state"),
    )
    op.create_index("ix_policy_approval_requester_id_id", "policy_approval", ["requester_id", "id"])
    op.create_index("ix_policy_approval_state_expires_at", "policy_approval", ["state", "expires_at"])
    op.create_table(
        "policy_execution",
        sa.Column("approval_id", sa.Uuid, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
