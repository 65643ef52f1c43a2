"""Tables of the review queue. Comments and corrections are sealed; the message itself is never copied nor touched."""

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, Table, Text, Uuid, text

from aliquot.platform.db import id_column, metadata, time_column

# One row per message and round: flags that come while it is open join it.
review_item = Table(
    "review_item",
    metadata,
    id_column(),
    Column("message_id", Uuid, nullable=False),
    Column("state", Text, nullable=False),  # open, or the decision
    time_column("created_at"),
    time_column("decided_at", nullable=True),
    Column("decided_by", Uuid),
    Column("comment", LargeBinary),  # of the decision; sealed under the message's subject, as the correction
    Column("correction", LargeBinary),
    Index("uq_review_item_open", "message_id", unique=True, postgresql_where=text("state = 'open'")),
    Index("ix_review_item_message_id", "message_id"),
    Index("ix_review_item_state", "state", "id"),
)

review_flag = Table(
    "review_flag",
    metadata,
    id_column(),
    Column("item_id", Uuid, ForeignKey("review_item.id"), nullable=False),
    Column("source", Text, nullable=False),  # person, feedback, or check:<name>
    Column("person_id", Uuid),  # None for checks
    Column("reason", Text, nullable=False),
    Column("comment", LargeBinary),  # sealed under the person's key; a check's under the message's subject
    time_column("created_at"),
    Index("uq_review_flag_person", "item_id", "person_id", unique=True, postgresql_where=text("person_id IS NOT NULL")),
    Index("uq_review_flag_check", "item_id", "source", "reason", unique=True, postgresql_where=text("person_id IS NULL")),
    Index("ix_review_flag_item_id", "item_id"),
    info={"app": "append"},
)
