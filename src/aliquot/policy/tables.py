"""Tables of `policy`."""

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from aliquot.platform.db import id_column, metadata, time_column

policy_decision = Table(
    "policy_decision",
    metadata,
    id_column(),
    time_column("at"),
    Column("user_id", Uuid, nullable=False),
    Column("tool", Text, nullable=False),
    Column("decision", Text, nullable=False),
    # Ids and texts of the bundle's policies, never anything a person wrote.
    Column("reasons", JSONB, nullable=False),
    Column("risk", SmallInteger, nullable=False),
    Column("obligations", ARRAY(Text), nullable=False),
    Column("policy_version", Text, nullable=False),
    Column("input_sha256", Text, nullable=False),
    Column("took_us", Integer, nullable=False),
    Column("run_id", Uuid),
    CheckConstraint("decision IN ('allow', 'deny', 'confirm')", name="decision"),
    Index("ix_policy_decision_user_id_id", "user_id", "id"),
    info={"app": "append"},
)

policy_approval = Table(
    "policy_approval",
    metadata,
    id_column(),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("requester_id", Uuid, nullable=False),
    Column("run_id", Uuid),
    Column("next_run_id", Uuid, unique=True),
    Column("call_id", Text, nullable=False),
    Column("tool", Text, nullable=False),
    # Whether the requester is excluded from deciding. A copy for lists, like all columns that the sealed request also holds:
    # what counts is the sealed request, and a row that differs from it is refused.
    Column("other_person", Boolean, nullable=False),
    Column("binding_sha256", Text, nullable=False),
    Column("request", LargeBinary, nullable=False),
    time_column("created_at"),
    time_column("expires_at"),
    Column("decided_by", Uuid),
    time_column("decided_at", nullable=True),
    Column("verdict", LargeBinary),
    time_column("executing_at", nullable=True),
    time_column("ended_at", nullable=True),
    # Why it failed, as short codes.
    Column("failure", Text),
    CheckConstraint(
        "state IN ('pending', 'approved', 'executing', 'done', 'failed', 'unknown', 'rejected', 'withdrawn', 'expired')", name="state"
    ),
    Index("ix_policy_approval_requester_id_id", "requester_id", "id"),
    Index("ix_policy_approval_state_expires_at", "state", "expires_at"),
)

# An approval is executed once, whatever somebody writes into its row: this table can only be added to.
policy_execution = Table(
    "policy_execution",
    metadata,
    id_column("approval_id"),
    time_column("at"),
    info={"app": "append"},
)
