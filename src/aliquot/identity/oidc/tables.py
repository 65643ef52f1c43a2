"""Tables of single sign-on. Secrets that travel through browsers are stored as SHA-256 (they have 256 random bits)."""

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, Table, Text, Uuid

from aliquot.platform.db import id_column, metadata, time_column

# Who a person is at the provider. Rows are deleted when an administrator unlinks; the audit log keeps that it was.
oidc_identity = Table(
    "oidc_identity",
    metadata,
    id_column(),
    Column("person_id", Uuid, ForeignKey("person.id"), nullable=False),
    Column("subject_index", LargeBinary, nullable=False, unique=True),  # HMAC-SHA256 of issuer and subject
    Column("subject", LargeBinary, nullable=False),  # sealed
    # As the provider said it last: an authentication that is not newer is not a fresh one.
    time_column("auth_time", nullable=True),
    time_column("created_at"),
    time_column("last_login_at", nullable=True),
    Index("ix_oidc_identity_person_id", "person_id"),
)

oidc_flow = Table(
    "oidc_flow",
    metadata,
    Column("state_sha256", LargeBinary, primary_key=True),
    Column("browser_sha256", LargeBinary, nullable=False),  # of the cookie that must come back
    Column("sealed", LargeBinary, nullable=False),  # nonce, PKCE verifier, where to go then
    time_column("expires_at"),
    Index("ix_oidc_flow_expires_at", "expires_at"),
)

# What a browser brings back to us after the provider: `login` is exchanged for a session, `sign` proves a fresh authentication.
oidc_pass = Table(
    "oidc_pass",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("person_id", Uuid, ForeignKey("person.id"), nullable=False),
    Column("identity_id", Uuid, ForeignKey("oidc_identity.id", ondelete="CASCADE"), nullable=False),
    Column("session_id", Uuid, ForeignKey("login_session.id", ondelete="CASCADE")),
    Column("challenge", Text),  # S256 of what the front end keeps to itself
    time_column("expires_at"),
    Index("ix_oidc_pass_expires_at", "expires_at"),
)

# Sessions that were opened through the provider.
oidc_session = Table(
    "oidc_session",
    metadata,
    Column("session_id", Uuid, ForeignKey("login_session.id", ondelete="CASCADE"), primary_key=True),
    Column("identity_id", Uuid, ForeignKey("oidc_identity.id", ondelete="CASCADE"), nullable=False),
    Index("ix_oidc_session_identity_id", "identity_id"),
)

# An administrator allowed that the provider's person with this person's verified address is this person.
oidc_link_grant = Table(
    "oidc_link_grant",
    metadata,
    Column("person_id", Uuid, ForeignKey("person.id"), primary_key=True),
    time_column("expires_at"),
)
