"""Who read patient data, and access that was taken in an emergency."""

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY

from aliquot.platform.db import id_column, metadata, time_column

# What an event `patient.read` speaks of: the event holds the SHA-256 of these ids.
patient_read = Table(
    "patient_read",
    metadata,
    id_column("event_id"),
    time_column("at"),
    Column("person_id", Uuid, nullable=False),
    Column("way", Text, nullable=False),
    Column("conversation_ids", ARRAY(Uuid), nullable=False),
    Column("message_ids", ARRAY(Uuid), nullable=False),
    Column("subjects", ARRAY(Uuid), nullable=False),  # under whose keys they lie: the patients, else the authors
    Index("ix_patient_read_person_id", "person_id", "event_id"),
    Index("ix_patient_read_subjects", "subjects", postgresql_using="gin"),
    info={"app": "append"},
)

break_glass = Table(
    "break_glass",
    metadata,
    id_column(),
    Column("person_id", Uuid, nullable=False),
    Column("conversation_id", Uuid, nullable=False),
    Column("reason", LargeBinary, nullable=False),  # sealed under the site's key
    time_column("granted_at"),
    time_column("expires_at"),
    Column("event_id", Uuid, nullable=False),
    Column("verdict", Text),
    Column("note", LargeBinary),  # sealed under the site's key
    Column("reviewed_by", Uuid),
    time_column("reviewed_at", nullable=True),
    CheckConstraint("verdict IN ('justified', 'unjustified')", name="verdict"),
    Index("ix_break_glass_person_id", "person_id", "conversation_id", "expires_at"),
)
