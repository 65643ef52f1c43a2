"""Shares of conversations. Tokens are stored hashed; a share is never deleted, only revoked."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, LargeBinary, Table, Uuid

from aliquot.chat.tables import conversation
from aliquot.platform.db import id_column, metadata, time_column

conversation_share = Table(
    "conversation_share",
    metadata,
    id_column(),
    Column("conversation_id", Uuid, ForeignKey(conversation.c.id), nullable=False),
    Column("made_by", Uuid, nullable=False),
    Column("message_id", Uuid, comment="the share shows the branch up to this message; null when it follows"),
    Column("title", LargeBinary, comment="sealed; at the moment of sharing"),
    Column("public", Boolean, nullable=False, comment="whoever has the link; otherwise the people of conversation_share_person"),
    Column("may_write", Boolean, nullable=False),
    Column("token_hash", LargeBinary, nullable=False, comment="SHA-256 of the token"),
    time_column("created_at"),
    time_column("expires_at", nullable=True),
    time_column("revoked_at", nullable=True),
    Index("ix_conversation_share_conversation_id", "conversation_id"),
    Index("uq_conversation_share_token_hash", "token_hash", unique=True),
)

conversation_share_person = Table(
    "conversation_share_person",
    metadata,
    Column("share_id", Uuid, ForeignKey(conversation_share.c.id), primary_key=True),
    Column("person_id", Uuid, primary_key=True),
    Index("ix_conversation_share_person_person_id", "person_id"),
)
