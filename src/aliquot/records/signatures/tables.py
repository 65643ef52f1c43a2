"""Tables of signatures: append-only by the serving login's rights and by triggers, as those of the ledger."""

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, Uuid

from aliquot.platform.db import id_column, metadata, time_column

# What was signed, byte for byte: one row per version, whoever signed it how often. It makes a silent change visible.
signed_version = Table(
    "signed_version",
    metadata,
    Column("record_type", Text, primary_key=True),
    Column("record_id", Text, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("sha256", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),  # sealed under the record's subject
    time_column("created_at"),
    info={"app": "append"},
)

record_signature = Table(
    "record_signature",
    metadata,
    id_column(),
    Column("record_type", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    Column("part", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("meaning", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),  # how many of the same were revoked before
    Column("signer_id", Uuid, nullable=False),
    Column("session_id", Uuid, nullable=False),
    time_column("signed_at"),
    # Sealed under the site's key: the printed name outlives the signer's account (21 CFR 11.50, GDPR 17(3)(b)).
    Column("statement", LargeBinary, nullable=False),
    Column("statement_sha256", Text, nullable=False),
    Column("reason", LargeBinary),  # sealed under the signer's key
    Column("event_id", Uuid, nullable=False, unique=True),
    Index(
        "uq_record_signature_once", "record_type", "record_id", "part", "version", "signer_id", "meaning", "ordinal", unique=True
    ),
    Index("ix_record_signature_session_id", "session_id", "signed_at"),
    info={"app": "append"},
)  # fmt: skip

signature_revocation = Table(
    "signature_revocation",
    metadata,
    id_column(),
    Column("signature_id", Uuid, ForeignKey("record_signature.id"), nullable=False, unique=True),
    Column("session_id", Uuid, nullable=False),
    time_column("revoked_at"),
    Column("statement", LargeBinary, nullable=False),
    Column("statement_sha256", Text, nullable=False),
    Column("reason", LargeBinary, nullable=False),
    Column("event_id", Uuid, nullable=False, unique=True),
    Index("ix_signature_revocation_session_id", "session_id", "revoked_at"),
    info={"app": "append"},
)

accountability_text = Table(
    "accountability_text",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("text", Text, nullable=False),
    time_column("created_at"),
    info={"app": "append"},
)

accountability_acceptance = Table(
    "accountability_acceptance",
    metadata,
    id_column(),
    Column("person_id", Uuid, nullable=False),
    Column("text_sha256", Text, ForeignKey("accountability_text.sha256"), nullable=False),
    time_column("accepted_at"),
    Column("event_id", Uuid, nullable=False, unique=True),
    Index("uq_accountability_acceptance_person_id_text_sha256", "person_id", "text_sha256", unique=True),
    info={"app": "append"},
)
