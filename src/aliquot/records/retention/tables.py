"""How long records are kept, and what holds them beyond that. Triggers of the database read both tables (migration 0016)."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Integer, LargeBinary, Table, Text, Uuid, false

from aliquot.platform.db import id_column, metadata, time_column

retention_schedule = Table(
    "retention_schedule",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("keep_days", Integer),  # null: for ever
    Column("version", Integer, nullable=False),
    Column("archive", Boolean, nullable=False, server_default=false()),
    time_column("changed_at", nullable=True),
    Column("changed_by", Uuid),
    CheckConstraint("keep_days >= 0", name="keep_days"),
)

# An archive is announced (`writing`) before its blob is stored, so that a crash leaves no blob that nobody knows.
retention_archive = Table(
    "retention_archive",
    metadata,
    id_column(),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    time_column("made_at"),
    Column("records", Integer),
    Column("bytes", BigInteger),
    Column("sha256", Text),
    Column("event_id", Uuid),
    CheckConstraint("state IN ('writing', 'written')", name="state"),
)

legal_hold = Table(
    "legal_hold",
    metadata,
    id_column(),
    # One of the three: everything of a person, one conversation, or all records of a kind made in a period.
    Column("person_id", Uuid),
    Column("conversation_id", Uuid),
    Column("kind", Text),
    time_column("since", nullable=True),
    time_column("until", nullable=True),
    Column("reason", LargeBinary, nullable=False),  # sealed under the site's key
    Column("made_by", Uuid, nullable=False),
    time_column("made_at"),
    Column("released_by", Uuid),
    time_column("released_at", nullable=True),
    Column("release_reason", LargeBinary),  # sealed under the site's key
    CheckConstraint("num_nonnulls(person_id, conversation_id, kind) = 1", name="one_target"),
    Index("ix_legal_hold_standing", "person_id", "conversation_id", postgresql_where="released_at IS NULL"),
)
