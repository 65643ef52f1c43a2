"""Tables of training records: append-only by the serving login's rights and by triggers, as those of signatures."""

from sqlalchemy import Column, Date, ForeignKey, Index, Integer, LargeBinary, Table, Text, Uuid

from aliquot.platform.db import id_column, metadata, time_column

training_record = Table(
    "training_record",
    metadata,
    id_column(),
    Column("person_id", Uuid, ForeignKey("person.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("code", Text, nullable=False),  # as it was written
    Column("key", Text, nullable=False),  # kind:code without regard to case
    Column("version", Integer, nullable=False),  # from 1 for each person and key
    Column("completed_on", Date, nullable=False),
    Column("valid_until", Date),
    Column("details", LargeBinary, nullable=False),  # trainer and evidence, sealed under the person's key
    Column("recorded_by", Uuid, nullable=False),
    time_column("recorded_at"),
    Index("uq_training_record_version", "person_id", "key", "version", unique=True),
    info={"app": "append"},
)

training_revocation = Table(
    "training_revocation",
    metadata,
    Column("training_id", Uuid, ForeignKey("training_record.id"), primary_key=True),
    Column("reason", LargeBinary, nullable=False),  # sealed under the person's key
    Column("revoked_by", Uuid, nullable=False),
    time_column("revoked_at"),
    info={"app": "append"},
)
