"""Erasures. They are kept for ever: that somebody was erased must be provable without the person."""

from sqlalchemy import Column, LargeBinary, Table, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from aliquot.platform.db import id_column, metadata, time_column

erasure = Table(
    "erasure",
    metadata,
    id_column(),
    Column("subject", Uuid, nullable=False, unique=True),
    Column("ordered_by", Uuid, nullable=False),
    Column("reason", LargeBinary, nullable=False),  # sealed under the site's key
    time_column("ordered_at"),
    Column("order_event_id", Uuid, nullable=False),
    time_column("done_at", nullable=True),
    Column("event_id", Uuid),
    Column("removed", JSONB),  # what was in clear and is gone: domain → count
)
