"""The keys a database belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One row, left by the first start (`platform.fingerprint`)."""
    op.create_table(
        "installation",
        sa.Column("id", sa.SmallInteger(), nullable=False, comment="always 1"),
        sa.Column(
            "keys_hmac",
            sa.String(length=64),
            nullable=False,
            comment="HMAC under the site's key: which key folder this database belongs to",
        ),
        sa.Column("log", sa.String(length=200), nullable=False, comment="name (origin) of the audit log"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
