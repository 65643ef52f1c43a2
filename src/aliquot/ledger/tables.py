"""Tables of the ledger. `audit_event` holds what happened, the others hold the order that the sequencer gave it."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY

from aliquot.platform.db import id_column, metadata, time_column

audit_event = Table(
    "audit_event",
    metadata,
    id_column(),
    time_column("at"),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("record_type", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    # The event itself: RFC 8785 JSON. The columns above are copies for searching; only these bytes are proven.
    Column("body", LargeBinary, nullable=False),
    # Which transaction wrote it: how the sequencer finds every committed event exactly once (see sequencer.py).
    Column("tx", BigInteger, nullable=False, server_default=text("((pg_current_xact_id())::text)::bigint")),
    CheckConstraint("octet_length(body) <= 32768", name="body_size"),
    Index("ix_audit_event_tx", "tx"),
    Index("ix_audit_event_at", "at"),
    Index("ix_audit_event_actor", "actor", "at"),
    Index("ix_audit_event_action", "action", "at"),
    Index("ix_audit_event_record", "record_id", "record_type"),
    info={"app": "append", "sequencer": "read"},
)

# No foreign key to audit_event: its check would lock and rewrite every event row, and rows there cannot be deleted anyway.
audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("leaf_hash", LargeBinary, nullable=False),
    info={"app": "read", "sequencer": "append"},
)

# Row (level, n) is the Merkle tree hash of the 256**level leaves from n * 256**level on; level 0 is audit_log itself.
audit_node = Table(
    "audit_node",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
    info={"app": "read", "sequencer": "append"},
)

# One row: how far the log is, and the newest signed checkpoint.
audit_state = Table(
    "audit_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("root_hash", LargeBinary, nullable=False),
    Column("note", Text),
    time_column("signed_at", nullable=True),
    # Transactions that were finished when the log last grew: all below `seen_xmax` but those in `seen_running`.
    Column("seen_xmax", BigInteger, nullable=False),
    Column("seen_running", ARRAY(BigInteger), nullable=False),
    # Transaction numbers are those of one database cluster; after a logical restore they start anew (see `rebase`).
    Column("cluster", BigInteger, nullable=False),
    Column("tx_offset", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single"),
    info={"app": "read", "sequencer": "write"},
)

# A rotation of the log's key: it takes effect at the place of its event. `statement` is signed by the old and the new key.
audit_key = Table(
    "audit_key",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("old_vkey", Text, nullable=False),
    Column("new_vkey", Text, nullable=False),
    Column("statement", Text, nullable=False),
    time_column("at"),
    info={"app": "append", "sequencer": "read"},
)

# Checkpoints with a witness's cosignature (C2SP tlog-cosignature).
audit_cosignature = Table(
    "audit_cosignature",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("witness", Text, primary_key=True),
    Column("note", Text, nullable=False),
    time_column("at"),
    info={"app": "append"},
)

# RFC 3161 responses over a checkpoint's signed note.
audit_timestamp = Table(
    "audit_timestamp",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    Column("token", LargeBinary, nullable=False),
    time_column("at"),
    CheckConstraint("octet_length(token) <= 65536", name="token_size"),
    info={"app": "append"},
)
