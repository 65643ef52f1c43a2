"""Tables of `lab`."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _instruments()
    _protocols()
    _runs()


def downgrade() -> None:
    """Aliquot never goes back: a back-up does."""


def _instruments() -> None:
    op.create_table(
        "instrument",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("driver", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("state_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("free_at", sa.DateTime(timezone=True)),
        sa.Column("error_code", sa.Text),
        sa.Column("error_text", sa.LargeBinary),
        sa.Column("last_service_on", sa.Date),
        sa.Column("version", sa.Integer, nullable=False),
        sa.UniqueConstraint("code", name="uq_instrument_code"),
        sa.CheckConstraint("state IN ('idle', 'busy', 'done', 'error', 'offline')", name="state"),
        sa.CheckConstraint("(state = 'done') = (free_at IS NOT NULL)", name="free_at"),
    )


def _protocols() -> None:
    op.create_table(
        "protocol",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.UniqueConstraint("code", name="uq_protocol_code"),
    )
    op.create_table(
        "protocol_version",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("protocol_id", sa.Uuid, sa.ForeignKey("protocol.id", name="fk_protocol_version_protocol_id"), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("kinds", ARRAY(sa.Text), nullable=False),
        sa.Column("warm_up_seconds", sa.Integer, nullable=False),
        sa.Column("max_samples", sa.Integer, nullable=False),
        sa.Column("parameters", JSONB, nullable=False),
        sa.Column("steps", JSONB, nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("uq_protocol_version_protocol_id_version", "protocol_version", ["protocol_id", "version"], unique=True)


def _runs() -> None:
    op.create_table(
        "instrument_run",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("instrument_id", sa.Uuid, sa.ForeignKey("instrument.id", name="fk_instrument_run_instrument_id"), nullable=False),
        sa.Column(
            "protocol_version_id",
            sa.Uuid,
            sa.ForeignKey("protocol_version.id", name="fk_instrument_run_protocol_version_id"),
            nullable=False,
        ),
        sa.Column("operator_id", sa.Uuid, nullable=False),
        sa.Column("operator_name", sa.LargeBinary, nullable=False),
        sa.Column("samples", ARRAY(sa.Text), nullable=False),
        sa.Column("parameters", JSONB, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("handle", JSONB, nullable=False),
        sa.Column("results", JSONB, nullable=False),
        sa.Column("stop_reason", sa.LargeBinary),
        sa.Column("stop_key", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("idempotency_key", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.UniqueConstraint("code", name="uq_instrument_run_code"),
        sa.UniqueConstraint("idempotency_key", name="uq_instrument_run_idempotency_key"),
        sa.CheckConstraint("state IN ('queued', 'warming_up', 'running', 'paused', 'done', 'failed', 'stopped')", name="state"),
        sa.CheckConstraint("(state IN ('done', 'failed', 'stopped')) = (ended_at IS NOT NULL)", name="ended"),
    )
    op.create_index(
        "uq_instrument_run_active", "instrument_run", ["instrument_id"], unique=True, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_index("ix_instrument_run_instrument_id", "instrument_run", ["instrument_id", "started_at", "id"])
    op.create_index("ix_instrument_run_started_at", "instrument_run", ["started_at", "id"])
    op.create_table(
        "instrument_run_number",
        sa.Column("year", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("last", sa.Integer, nullable=False),
    )
