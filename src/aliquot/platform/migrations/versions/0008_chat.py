"""Conversations, messages, runs, run steps and run events."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; contents are sealed bytes."""
    op.create_table(
        "conversation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("client_id_hash", sa.LargeBinary(), nullable=True, comment="HMAC of the client's own id: equality without its text"),
        sa.Column("client_id", sa.LargeBinary(), nullable=True, comment="sealed"),
        sa.Column("title", sa.LargeBinary(), nullable=True, comment="sealed"),
        sa.Column("head_id", sa.Uuid(), nullable=True, comment="newest message of the branch that is shown"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_message_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation")),
    )
    op.create_index("ix_conversation_owner_recent", "conversation", ["owner_id", "kind", "updated_at", "id"], unique=False)
    op.create_index(
        "uq_conversation_client_id",
        "conversation",
        ["owner_id", "client_id_hash"],
        unique=True,
        postgresql_where="client_id_hash IS NOT NULL AND closed_at IS NULL AND deleted_at IS NULL",
    )
    op.create_table(
        "message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="sealed"),
        sa.Column("meta", sa.LargeBinary(), nullable=True, comment="sealed JSON: citations, tool calls, model"),
        sa.Column("incomplete", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_message_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
    )
    op.create_index("ix_message_conversation", "message", ["conversation_id", "created_at", "id"], unique=False)
    op.create_table(
        "run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("via", sa.String(length=16), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("ip", sa.String(length=64), nullable=True),
        sa.Column("user_message_id", sa.Uuid(), nullable=True),
        sa.Column("message_id", sa.Uuid(), nullable=False, comment="id of the answer, allocated at the start"),
        sa.Column("parent_run_id", sa.Uuid(), nullable=True),
        sa.Column("approval_id", sa.Uuid(), nullable=True),
        sa.Column("model", sa.String(length=200), nullable=True),
        sa.Column("dashboard", sa.String(length=200), nullable=True),
        sa.Column("idempotency_key", sa.String(length=80), nullable=True, comment="hash of person, route and the caller's key"),
        sa.Column("request_sha256", sa.String(length=64), nullable=True),
        sa.Column("lease_owner", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("takeovers", sa.Integer(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("error_code", sa.String(length=80), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("cost", sa.Numeric(precision=18, scale=9), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_run_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.create_index("ix_run_conversation", "run", ["conversation_id", "created_at"], unique=False)
    op.create_index("ix_run_unfinished", "run", ["lease_until"], unique=False, postgresql_where="state IN ('queued', 'running')")
    op.create_index("uq_run_idempotency_key", "run", ["idempotency_key"], unique=True, postgresql_where="idempotency_key IS NOT NULL")
    op.create_table(
        "run_event",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False, comment="from 1, no gaps"),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="sealed JSON, exactly the bytes that were fanned out"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_event_run_id")),
        sa.PrimaryKeyConstraint("run_id", "seq", name=op.f("pk_run_event")),
    )
    op.create_table(
        "run_step",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False, comment="from 0"),
        sa.Column("state", sa.String(length=16), nullable=False, comment="started, answered, done"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True, comment="sealed JSON: the assistant turn and the results of its calls"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_step_run_id")),
        sa.PrimaryKeyConstraint("run_id", "n", name=op.f("pk_run_step")),
    )
