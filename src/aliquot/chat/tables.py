"""Conversations (a tree of messages), runs, their steps and their events. Contents are sealed bytes (`platform.vault`)."""

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, LargeBinary, Numeric, String, Table, Text, Uuid, false, text
from sqlalchemy.dialects.postgresql import ARRAY

from aliquot.chat.folders.tables import folder
from aliquot.platform.db import id_column, metadata, time_column

conversation = Table(
    "conversation",
    metadata,
    id_column(),
    Column("owner_id", Uuid, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("client_id_hash", LargeBinary, comment="HMAC of the client's own id: equality without its text"),
    Column("client_id", LargeBinary, comment="sealed"),
    Column("title", LargeBinary, comment="sealed"),
    Column("head_id", Uuid, comment="newest message of the branch that is shown"),
    time_column("created_at"),
    time_column("updated_at"),
    time_column("last_message_at", nullable=True),
    time_column("closed_at", nullable=True),
    time_column("deleted_at", nullable=True),
    time_column("archived_at", nullable=True),
    time_column("pinned_at", nullable=True),
    Column("folder_id", Uuid, ForeignKey(folder.c.id)),
    Column("title_by_person", Boolean, nullable=False, server_default=false(), comment="a title a person gave is never replaced"),
    Column(
        "permissions_carried", ARRAY(Text), nullable=False, server_default=text("'{}'"),
        comment="used where its messages come from; its own runs add theirs",
    ),
    Index("ix_conversation_folder", "folder_id", postgresql_where="folder_id IS NOT NULL"),
    Index("ix_conversation_owner_recent", "owner_id", "kind", "updated_at", "id"),
    Index(
        "uq_conversation_client_id", "owner_id", "client_id_hash", unique=True,
        postgresql_where="client_id_hash IS NOT NULL AND closed_at IS NULL AND deleted_at IS NULL",
    ),
)  # fmt: skip

message = Table(
    "message",
    metadata,
    id_column(),
    Column("conversation_id", Uuid, ForeignKey("conversation.id"), nullable=False),
    Column("parent_id", Uuid),
    Column("role", String(16), nullable=False),
    Column("author_id", Uuid),
    Column("run_id", Uuid),
    Column("body", LargeBinary, nullable=False, comment="sealed"),
    Column("meta", LargeBinary, comment="sealed JSON: citations, tool calls, model"),
    Column("incomplete", Boolean, nullable=False),
    Column("patient_class", String(10), nullable=False, server_default="undecided", comment="none, patient, undecided"),
    time_column("created_at"),
    Index("ix_message_conversation", "conversation_id", "created_at", "id"),
    Index("ix_message_parent", "conversation_id", "parent_id"),
    Index("ix_message_patient", "conversation_id", postgresql_where="patient_class <> 'none'"),
)

run = Table(
    "run",
    metadata,
    id_column(),
    Column("conversation_id", Uuid, ForeignKey("conversation.id"), nullable=False),
    Column("person_id", Uuid, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(20), nullable=False),
    Column("via", String(16), nullable=False),
    Column("session_id", Uuid),
    Column("ip", String(64)),
    Column("user_message_id", Uuid),
    Column("message_id", Uuid, nullable=False, comment="id of the answer, allocated at the start"),
    Column("parent_run_id", Uuid),
    Column("approval_id", Uuid),
    Column("model", String(200)),
    Column("dashboard", String(200)),
    Column("intent", String(16), comment="what the message asks for (routing.contracts.IntentName); null without a message"),
    Column("intent_confidence", Float),
    Column("idempotency_key", String(80), comment="hash of person, route and the caller's key"),
    Column("request_sha256", String(64)),
    Column("lease_owner", Uuid),
    time_column("lease_until", nullable=True),
    Column("takeovers", Integer, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("error_code", String(80)),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cost", Numeric(18, 9), nullable=False),
    Column("currency", String(3), nullable=False),
    time_column("created_at"),
    time_column("finished_at", nullable=True),
    Index("ix_run_conversation", "conversation_id", "created_at"),
    Index("ix_run_created_at", "created_at"),
    Index("ix_run_unfinished", "lease_until", postgresql_where="state IN ('queued', 'running')"),
    Index(
        "ix_run_same_call",
        "person_id",
        "request_sha256",
        postgresql_where="kind = 'tool' AND state IN ('queued', 'running', 'waiting_approval')",
    ),
    Index("uq_run_idempotency_key", "idempotency_key", unique=True, postgresql_where="idempotency_key IS NOT NULL"),
)

run_step = Table(
    "run_step",
    metadata,
    Column("run_id", Uuid, ForeignKey("run.id"), primary_key=True),
    Column("n", Integer, primary_key=True, comment="from 0"),
    Column("state", String(16), nullable=False, comment="started, answered, done"),
    Column("attempts", Integer, nullable=False),
    Column("body", LargeBinary, comment="sealed JSON: the assistant turn and the results of its calls"),
)

run_event = Table(
    "run_event",
    metadata,
    Column("run_id", Uuid, ForeignKey("run.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, comment="from 1, no gaps"),
    Column("kind", String(32), nullable=False),
    Column("payload", LargeBinary, nullable=False, comment="sealed JSON, exactly the bytes that were fanned out"),
)
