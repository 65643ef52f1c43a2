"""Tables of the laboratory."""

from sqlalchemy import CheckConstraint, Column, Date, Float, ForeignKey, Index, Integer, LargeBinary, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from aliquot.platform.db import id_column, metadata, time_column

instrument = Table(
    "instrument",
    metadata,
    id_column(),
    Column("code", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("location", Text, nullable=False),
    Column("driver", Text, nullable=False),
    # What is stored; `busy` and `done` are only the frame: what people see in it follows from the run and the clock.
    Column("state", Text, nullable=False),
    time_column("state_since"),
    time_column("free_at", nullable=True),
    Column("error_code", Text),
    Column("error_text", LargeBinary),  # sealed under the site's key
    Column("last_service_on", Date),
    Column("settings", JSONB, nullable=False, server_default=text("'{}'")),  # the driver's, never secrets
    time_column("retired_at", nullable=True),
    Column("version", Integer, nullable=False),
    CheckConstraint("state IN ('idle', 'busy', 'done', 'error', 'offline')", name="state"),
    CheckConstraint("(state = 'done') = (free_at IS NOT NULL)", name="free_at"),
    CheckConstraint("retired_at IS NULL OR state = 'offline'", name="retired"),
)

protocol = Table(
    "protocol",
    metadata,
    id_column(),
    Column("code", Text, nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    time_column("retired_at", nullable=True),
)

# Versions are immutable: the serving login may only add.
protocol_version = Table(
    "protocol_version",
    metadata,
    id_column(),
    Column("protocol_id", Uuid, ForeignKey("protocol.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("warm_up_seconds", Integer, nullable=False),
    Column("max_samples", Integer, nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("steps", JSONB, nullable=False),
    time_column("published_at"),
    Index("uq_protocol_version_protocol_id_version", "protocol_id", "version", unique=True),
    info={"app": "append"},
)

instrument_run = Table(
    "instrument_run",
    metadata,
    id_column(),
    Column("code", Text, nullable=False, unique=True),
    Column("instrument_id", Uuid, ForeignKey("instrument.id"), nullable=False),
    Column("protocol_version_id", Uuid, ForeignKey("protocol_version.id"), nullable=False),
    Column("operator_id", Uuid, nullable=False),
    Column("operator_name", LargeBinary, nullable=False),  # sealed under the operator's key
    Column("samples", ARRAY(Text), nullable=False),
    Column("parameters", JSONB, nullable=False),  # numbers within the protocol's ranges, never free text
    Column("state", Text, nullable=False),
    time_column("started_at"),
    time_column("ended_at", nullable=True),
    Column("progress", Float, nullable=False),  # as last stored; of an active run it follows from the clock
    Column("handle", JSONB, nullable=False),  # the driver's own memory of the run
    Column("results", JSONB, nullable=False),  # measured by the instrument
    Column("stop_reason", LargeBinary),  # sealed under the key of the person who wrote it
    Column("stop_key", Text),
    Column("error_code", Text),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("version", Integer, nullable=False),
    CheckConstraint("state IN ('queued', 'warming_up', 'running', 'paused', 'done', 'failed', 'stopped')", name="state"),
    CheckConstraint("(state IN ('done', 'failed', 'stopped')) = (ended_at IS NOT NULL)", name="ended"),
    # One active run per instrument, whatever the code above believes.
    Index("uq_instrument_run_active", "instrument_id", unique=True, postgresql_where=text("ended_at IS NULL")),
    Index("ix_instrument_run_instrument_id", "instrument_id", "started_at", "id"),
    Index("ix_instrument_run_started_at", "started_at", "id"),
)

instrument_run_number = Table(
    "instrument_run_number",
    metadata,
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("last", Integer, nullable=False),
)
