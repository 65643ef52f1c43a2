"""Tables of `policy`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
)
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
    Column("intent", Text),
    # How many; which, is sealed with what went in.
    Column("unnamed_values", SmallInteger),
    # What went in, sealed under the person's key, so that a later bundle can be replayed against it; null in older rows.
    Column("input", LargeBinary),
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
    # How many calls it is about: the steps of a plan.
    Column("calls", Integer, nullable=False, server_default="1"),
    # The request that took this one's place, with edited arguments.
    Column("superseded_by", Uuid),
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

# Every bundle that was ever brought here. Its texts lie under the site's key: who can only write rows cannot write policies.
policy_bundle = Table(
    "policy_bundle",
    metadata,
    id_column(),
    Column("version", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_by", Uuid, nullable=False),
    time_column("created_at"),
    Column("texts", LargeBinary, nullable=False),
    # Counts of the last replay, and the activation that was the newest then.
    Column("replay", JSONB),
    Column("replayed_on", BigInteger),
    # When a single administrator's signature takes effect.
    time_column("effective_at", nullable=True),
    Column("withdrawal", LargeBinary),
    CheckConstraint("state IN ('draft', 'replayed', 'signed', 'active', 'superseded', 'withdrawn')", name="state"),
    Index("uq_policy_bundle_open", "version", unique=True, postgresql_where="state IN ('draft', 'replayed', 'signed', 'active')"),
    Index("ix_policy_bundle_effective_at", "effective_at", postgresql_where="state = 'signed'"),
)

# Signatures for an activation. They count only while the activation they were given on top of is the newest one.
policy_endorsement = Table(
    "policy_endorsement",
    metadata,
    id_column(),
    Column("bundle_id", Uuid, ForeignKey("policy_bundle.id"), nullable=False),
    Column("person_id", Uuid, nullable=False),
    Column("signature_id", Uuid, nullable=False),
    Column("on_serial", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),  # the same, sealed: who can only write rows cannot sign
    time_column("at"),
    Index("ix_policy_endorsement_bundle_id", "bundle_id"),
    info={"app": "append"},
)

# Which bundle is in force: the one of the highest serial. Without a bundle_id it is the one this site started with. The sealed record
# says the same and belongs to its serial, so that an old activation put in again does not open.
policy_activation = Table(
    "policy_activation",
    metadata,
    Column("serial", BigInteger, primary_key=True, autoincrement=False),
    Column("bundle_id", Uuid, ForeignKey("policy_bundle.id")),
    Column("record", LargeBinary, nullable=False),
    time_column("at"),
    info={"app": "append"},
)
