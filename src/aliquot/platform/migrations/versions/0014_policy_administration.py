"""policy administration."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bundles, signatures for them and their activations; sealed inputs of decisions; approvals that took another one's place."""
    op.add_column("policy_decision", sa.Column("input", sa.LargeBinary))
    op.add_column("policy_approval", sa.Column("superseded_by", sa.Uuid))
    _bundles()
    _activations()


def _bundles() -> None:
    op.create_table(
        "policy_bundle",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_by", sa.Uuid, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("texts", sa.LargeBinary, nullable=False),
        sa.Column("replay", JSONB),
        sa.Column("replayed_on", sa.BigInteger),
        sa.Column("effective_at", sa.DateTime(timezone=True)),
        sa.Column("withdrawal", sa.LargeBinary),
        sa.CheckConstraint(
            "state IN ('draft', 'replayed', 'signed', 'active', 'superseded', 'withdrawn')", name=op.f("ck_policy_bundle_state")
        ),
    )
    open_ones = sa.text("state IN ('draft', 'replayed', 'signed', 'active')")
    op.create_index("uq_policy_bundle_open", "policy_bundle", ["version"], unique=True, postgresql_where=open_ones)
    op.create_index("ix_policy_bundle_effective_at", "policy_bundle", ["effective_at"], postgresql_where=sa.text("state = 'signed'"))


def _activations() -> None:
    op.create_table(
        "policy_endorsement",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("bundle_id", sa.Uuid, sa.ForeignKey("policy_bundle.id", name="fk_policy_endorsement_bundle_id"), nullable=False),
        sa.Column("person_id", sa.Uuid, nullable=False),
        sa.Column("signature_id", sa.Uuid, nullable=False),
        sa.Column("on_serial", sa.BigInteger, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_policy_endorsement_bundle_id", "policy_endorsement", ["bundle_id"])
    op.create_table(
        "policy_activation",
        sa.Column("serial", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("bundle_id", sa.Uuid, sa.ForeignKey("policy_bundle.id", name="fk_policy_activation_bundle_id")),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    for table in ("policy_endorsement", "policy_activation"):
        op.execute(f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION aliquot_append_only()")
        op.execute(f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION aliquot_append_only()")
        for trigger in ("refuse_change", "refuse_truncate"):
            op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
