"""The search index: keyed tokens of messages and titles. Without the subject's key they mean nothing."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Table, Uuid
from sqlalchemy.dialects.postgresql import ARRAY

from aliquot.chat.tables import conversation, message
from aliquot.platform.db import metadata

message_index = Table(
    "message_index",
    metadata,
    Column("message_id", Uuid, ForeignKey(message.c.id, ondelete="CASCADE"), primary_key=True),
    Column("conversation_id", Uuid, ForeignKey(conversation.c.id, ondelete="CASCADE"), nullable=False),
    Column("owner_id", Uuid, nullable=False, comment="of the conversation"),
    Column("subject", Uuid, nullable=False, comment="whose key the tokens are made with"),
    Column("tokens", ARRAY(BigInteger), nullable=False),
    Index("ix_message_index_conversation_id_subject", "conversation_id", "subject"),
    Index("ix_message_index_guests", "owner_id", "subject", postgresql_where="subject <> owner_id"),
    # Without a pending list: its clean-up would hold up whichever answer happens to fill it.
    Index("ix_message_index_tokens", "tokens", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
)

title_index = Table(
    "title_index",
    metadata,
    Column("conversation_id", Uuid, ForeignKey(conversation.c.id, ondelete="CASCADE"), primary_key=True),
    Column("subject", Uuid, nullable=False, comment="whose key the tokens are made with"),
    Column("tokens", ARRAY(BigInteger), nullable=False),
    Index("ix_title_index_tokens", "tokens", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
)
