"""Tables of the platform that belong to no mechanism of their own."""

from sqlalchemy import CheckConstraint, Column, SmallInteger, String, Table

from aliquot.platform.db import metadata, time_column

installation = Table(
    "installation",
    metadata,
    Column("id", SmallInteger, primary_key=True, comment="always 1"),
    Column("keys_hmac", String(64), nullable=False, comment="HMAC under the site's key: which key folder this database belongs to"),
    Column("log", String(200), nullable=False, comment="name (origin) of the audit log"),
    time_column("created_at"),
    CheckConstraint("id = 1", name="one"),
    info={"app": "append"},
)
