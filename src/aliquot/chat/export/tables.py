"""Exports sent by e-mail."""

from sqlalchemy import Column, Index, LargeBinary, String, Table, Uuid

from aliquot.platform.db import id_column, metadata, time_column

export_delivery = Table(
    "export_delivery",
    metadata,
    id_column(),
    Column("conversation_id", Uuid, nullable=False),
    Column("person_id", Uuid, nullable=False),
    Column("via", String(16), nullable=False),
    Column("wanted", LargeBinary, nullable=False, comment="sealed JSON: recipient and options"),
    Column("state", String(16), nullable=False, comment="queued, sending, sent, failed, unknown"),
    Column("error_code", String(80)),
    time_column("created_at"),
    time_column("sent_at", nullable=True),
    Index("ix_export_delivery_conversation", "conversation_id", "person_id", "created_at"),
)
