"""Feedback on answers. The comment is sealed under the key of the person who wrote it."""

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, String, Table, Uuid

from aliquot.chat.tables import message
from aliquot.platform.db import id_column, metadata, time_column

feedback = Table(
    "feedback",
    metadata,
    id_column(),
    Column("message_id", Uuid, ForeignKey(message.c.id, ondelete="CASCADE"), nullable=False),
    Column("conversation_id", Uuid, nullable=False),
    Column("run_id", Uuid),
    Column("person_id", Uuid, nullable=False),
    Column("rating", String(4), nullable=False, comment="up, down or 1 to 5"),
    Column("comment", LargeBinary, comment="sealed"),
    time_column("created_at"),
    time_column("updated_at"),
    Index("uq_feedback_message_person", "message_id", "person_id", unique=True),
    Index("ix_feedback_recent", "created_at", "id"),
)
