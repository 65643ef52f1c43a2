"""Tables of `identity`, and of the platform's rate limits and idempotency keys."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _bytes(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _person_id() -> sa.Column[Any]:
    return sa.Column("person_id", sa.Uuid(), nullable=False)


def upgrade() -> None:
    _people()
    _sessions()
    _platform()


def _people() -> None:
    op.create_table(
        "person",
        sa.Column("id", sa.Uuid(), nullable=False),
        _bytes("email_index"),
        _bytes("email"),
        _bytes("name"),
        _text("password_hash"),
        sa.Column("roles", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("may_sign", sa.Boolean(), nullable=False),
        sa.Column("must_change", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        _time("created_at"),
        _time("changed_at"),
        sa.PrimaryKeyConstraint("id", name="pk_person"),
        sa.UniqueConstraint("email_index", name="uq_person_email_index"),
    )


def _sessions() -> None:
    op.create_table(
        "login_session",
        sa.Column("id", sa.Uuid(), nullable=False),
        _person_id(),
        _text("ip", nullable=True),
        _time("created_at"),
        _time("expires_at"),
        _time("revoked_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_login_session"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_login_session_person_id"),
    )
    op.create_index("ix_login_session_person_id", "login_session", ["person_id"])
    op.create_index("ix_login_session_expires_at", "login_session", ["expires_at"])
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        _person_id(),
        _text("prefix"),
        _bytes("secret_sha256"),
        _bytes("name"),
        _time("created_at"),
        _time("expires_at", nullable=True),
        _time("revoked_at", nullable=True),
        _time("last_used_at", nullable=True),
        _time("last_refused_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("prefix", name="uq_api_key_prefix"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_api_key_person_id"),
    )
    op.create_index("ix_api_key_person_id", "api_key", ["person_id"])
    op.create_table(
        "socket_ticket",
        _bytes("digest"),
        _person_id(),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        _time("expires_at"),
        sa.PrimaryKeyConstraint("digest", name="pk_socket_ticket"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_socket_ticket_person_id"),
        sa.ForeignKeyConstraint(["session_id"], ["login_session.id"], name="fk_socket_ticket_session_id", ondelete="CASCADE"),
    )
    op.create_index("ix_socket_ticket_expires_at", "socket_ticket", ["expires_at"])


def _platform() -> None:
    op.create_table(
        "rate_limit",
        _text("key"),
        sa.Column("hits", postgresql.ARRAY(sa.TIMESTAMP(timezone=True)), nullable=False),
        sa.Column("costs", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        _time("latest"),
        _time("expires_at"),
        sa.PrimaryKeyConstraint("key", name="pk_rate_limit"),
    )
    op.create_index("ix_rate_limit_expires_at", "rate_limit", ["expires_at"])
    op.create_table(
        "idempotency_key",
        _bytes("digest"),
        _bytes("body_sha256"),
        _text("resource_id", nullable=True),
        _time("created_at"),
        sa.PrimaryKeyConstraint("digest", name="pk_idempotency_key"),
    )
    op.create_index("ix_idempotency_key_created_at", "idempotency_key", ["created_at"])
