"""Tables of identity. Addresses and names are sealed under the person's key; log-in finds a person by a keyed hash."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY

from aliquot.platform.db import id_column, metadata, time_column

# People are disabled, never deleted: signatures and the audit log name them, and an identification code is never given to
# somebody else (21 CFR 11.100(a), 11.300(a)).
person = Table(
    "person",
    metadata,
    id_column(),
    Column("email_index", LargeBinary, nullable=False, unique=True),  # HMAC-SHA256 of the normalised address
    Column("email", LargeBinary, nullable=False),  # sealed
    Column("name", LargeBinary, nullable=False),  # sealed
    Column("password_hash", Text, nullable=False),  # argon2id, PHC string
    Column("roles", ARRAY(Text), nullable=False),
    Column("may_sign", Boolean, nullable=False),
    Column("must_change", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    time_column("created_at"),
    time_column("changed_at"),
    # Who reset this person's credentials: until somebody else certifies the person anew, they cannot sign.
    Column("signing_hold", Text),
)

second_factor = Table(
    "second_factor",
    metadata,
    Column("person_id", Uuid, ForeignKey("person.id"), primary_key=True),
    Column("secret", LargeBinary, nullable=False),  # sealed
    Column("at_login", Boolean, nullable=False),
    Column("last_step", BigInteger),  # time step of the newest accepted code: no code counts twice
    Column("confirmed_session", Uuid),
    time_column("created_at"),
    time_column("confirmed_at", nullable=True),
)

login_session = Table(
    "login_session",
    metadata,
    id_column(),
    Column("person_id", Uuid, ForeignKey("person.id"), nullable=False),
    Column("ip", Text),
    time_column("created_at"),
    time_column("expires_at"),
    time_column("revoked_at", nullable=True),
    Index("ix_login_session_person_id", "person_id"),
    Index("ix_login_session_expires_at", "expires_at"),
)

api_key = Table(
    "api_key",
    metadata,
    id_column(),
    Column("person_id", Uuid, ForeignKey("person.id"), nullable=False),
    Column("prefix", Text, nullable=False, unique=True),
    # The secret has 256 random bits, so a plain hash cannot be searched for it; argon2 would cost tens of ms a request.
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("name", LargeBinary, nullable=False),  # sealed
    time_column("created_at"),
    time_column("expires_at", nullable=True),
    time_column("revoked_at", nullable=True),
    time_column("last_used_at", nullable=True),
    time_column("last_refused_at", nullable=True),
    Index("ix_api_key_person_id", "person_id"),
)

socket_ticket = Table(
    "socket_ticket",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of the ticket
    Column("person_id", Uuid, ForeignKey("person.id"), nullable=False),
    Column("session_id", Uuid, ForeignKey("login_session.id", ondelete="CASCADE"), nullable=False),
    time_column("expires_at"),
    Index("ix_socket_ticket_expires_at", "expires_at"),
)
