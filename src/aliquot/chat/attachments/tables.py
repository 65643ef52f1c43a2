"""Attachments. Name, checksum and everything read from a file are sealed; the bytes are sealed blobs outside the database."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Uuid

from aliquot.chat.tables import message
from aliquot.platform.db import id_column, metadata, time_column

attachment = Table(
    "attachment",
    metadata,
    id_column(),  # also the id of the blob with the file
    Column("owner_id", Uuid, nullable=False),
    Column("state", String(16), nullable=False, comment="storing, clean, not_scanned, quarantined, infected, deleted"),
    Column("size", BigInteger, nullable=False, comment="bytes of the file"),
    Column("facts", LargeBinary, comment="sealed JSON; null once deleted"),
    Column("extract_id", Uuid, comment="blob with the text, or with the image made for models"),
    time_column("created_at"),
    time_column("deleted_at", nullable=True),
    time_column("blobs_deleted_at", nullable=True),
    Index("ix_attachment_owner_id", "owner_id", postgresql_where="deleted_at IS NULL"),
    Index("ix_attachment_created_at", "created_at"),
)

message_attachment = Table(
    "message_attachment",
    metadata,
    Column("message_id", Uuid, ForeignKey(message.c.id), primary_key=True),
    Column("attachment_id", Uuid, ForeignKey(attachment.c.id), primary_key=True),
    Column("n", Integer, nullable=False, comment="place in the message, from 0"),
    Index("ix_message_attachment_attachment_id", "attachment_id"),
)
