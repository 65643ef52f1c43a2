"""Tool calls: what was asked, how far it came, what came out. Arguments and results are sealed (`platform.vault`)."""

from sqlalchemy import CheckConstraint, Column, Index, Integer, LargeBinary, String, Table, Uuid

from aliquot.platform.db import id_column, metadata, time_column

tool_call = Table(
    "tool_call",
    metadata,
    id_column(),
    Column("call_id", String(200), nullable=False, comment="the name of the call in its run; a provider may repeat it in another run"),
    Column("run_id", Uuid, comment="the run that asked"),
    Column("executing_run_id", Uuid, comment="the run that executes: after an approval, the one that continues"),
    Column("person_id", Uuid, nullable=False),
    Column("tool", String(64), comment="null when no tool has that name: it is then text a model wrote, and sealed with the arguments"),
    Column("effect", String(16)),
    Column("state", String(16), nullable=False),
    Column("arguments", LargeBinary, nullable=False, comment="sealed JSON"),
    Column("report", LargeBinary, comment="sealed JSON: how it ended"),
    Column("error_code", String(80)),
    Column("schema_sha256", String(64)),
    Column("policy_version", String(64)),
    Column("approval_id", Uuid),
    Column("idempotency_key", String(200), nullable=False),
    Column("attempts", Integer, nullable=False),
    time_column("created_at"),
    time_column("started_at", nullable=True),
    time_column("finished_at", nullable=True),
    CheckConstraint("state IN ('proposed', 'waiting', 'executing', 'ok', 'failed', 'denied', 'unknown')", name="state"),
    Index("ix_tool_call_created_at", "created_at"),
    Index("uq_tool_call_idempotency_key", "idempotency_key", unique=True),
    Index("uq_tool_call_approval_id", "approval_id", unique=True, postgresql_where="approval_id IS NOT NULL"),
    Index("ix_tool_call_run_id", "run_id", postgresql_where="run_id IS NOT NULL"),
    Index("ix_tool_call_executing_run_id", "executing_run_id", postgresql_where="state = 'executing'"),
)
