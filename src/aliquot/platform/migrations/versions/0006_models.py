"""Tables of `models`."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MONEY = sa.Numeric(24, 10)
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "model_call",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("call_key", sa.Text),
        sa.Column("person_id", sa.Uuid),
        sa.Column("run_id", sa.Uuid),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reserved_tokens", sa.BigInteger, nullable=False),
        sa.Column("reserved_cost", MONEY, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("output_tokens", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("cost", MONEY, nullable=False, server_default=sa.text("0")),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("estimated", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("outcome", sa.Text),
        sa.Column("duration_ms", sa.Integer),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("finished_at", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_model_call"),
        sa.UniqueConstraint("call_key", name="uq_model_call_call_key"),
        sa.CheckConstraint("state IN ('reserved', 'settled', 'expired')", name="ck_model_call_state"),
    )
    op.create_index("ix_model_call_started_at", "model_call", ["started_at"])
    op.create_index("ix_model_call_person_id_started_at", "model_call", ["person_id", "started_at"])
    op.create_index("ix_model_call_run_id", "model_call", ["run_id"])
    op.create_index("ix_model_call_reserved", "model_call", ["expires_at"], postgresql_where=sa.text("state = 'reserved'"))
    op.create_table(
        "model_meter",
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("slot", TIME, nullable=False),
        sa.Column("spent", MONEY, nullable=False),
        sa.Column("reserved", MONEY, nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", "slot", name="pk_model_meter"),
        sa.CheckConstraint("scope IN ('day', 'run', 'hour')", name="ck_model_meter_scope"),
    )
    op.create_table(
        "model_cap_notice",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("percent", sa.SmallInteger, nullable=False, autoincrement=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("day", "percent", name="pk_model_cap_notice"),
    )
    op.create_table(
        "model_default",
        sa.Column("id", sa.SmallInteger, nullable=False, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("switched_by", sa.Uuid, nullable=False),
        sa.Column("switched_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_model_default"),
        sa.CheckConstraint("id = 1", name="ck_model_default_single"),
    )


def downgrade() -> None:
    """Aliquot never downgrades a schema; a back-up is restored instead."""
