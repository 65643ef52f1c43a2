"""Tables of the model layer. Usage rows hold counts and names, never contents."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)

from aliquot.platform.db import id_column, metadata, time_column

MONEY = Numeric(24, 10)

model_call = Table(
    "model_call",
    metadata,
    id_column(),
    Column("call_key", Text, unique=True),
    Column("person_id", Uuid),
    Column("run_id", Uuid),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reserved_tokens", BigInteger, nullable=False),
    Column("reserved_cost", MONEY, nullable=False),
    Column("input_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("output_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("cost", MONEY, nullable=False, server_default=text("0")),
    Column("currency", Text, nullable=False),
    Column("estimated", Boolean, nullable=False, server_default=text("false")),
    Column("outcome", Text),
    Column("duration_ms", Integer),
    time_column("started_at", index=True),
    time_column("expires_at"),
    time_column("finished_at", nullable=True),
    CheckConstraint("state IN ('reserved', 'settled', 'expired')", name="state"),
    Index("ix_model_call_person_id_started_at", "person_id", "started_at"),
    Index("ix_model_call_run_id", "run_id"),
    Index("ix_model_call_reserved", "expires_at", postgresql_where=text("state = 'reserved'")),
)
"""One row per call: `reserved` before it, `settled` after it, `expired` when its process died."""

model_meter = Table(
    "model_meter",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("slot", DateTime(timezone=True), primary_key=True),
    Column("spent", MONEY, nullable=False),
    Column("reserved", MONEY, nullable=False),
    CheckConstraint("scope IN ('day', 'run', 'hour')", name="scope"),
)
"""Running totals the caps are checked against: money per day and per run, tokens per person and minute (scope `hour`)."""

model_cap_notice = Table(
    "model_cap_notice",
    metadata,
    Column("day", Date, primary_key=True),
    Column("percent", SmallInteger, primary_key=True, autoincrement=False),
    time_column("at"),
)
"""Which crossings of the daily cap were told, so that each is told once a day."""

model_default = Table(
    "model_default",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("switched_by", Uuid, nullable=False),
    time_column("switched_at"),
    CheckConstraint("id = 1", name="single"),
)
"""The site-wide default chosen with `switch`; no row = the first of the models file."""
