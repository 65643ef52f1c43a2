"""Tables of security alerts: ids, kinds, counts and times; only notes are contents."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, Uuid

from aliquot.platform.db import id_column, metadata, time_column

# How far the log was looked through. One row.
security_watch = Table(
    "security_watch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single"),
)

security_mail = Table(
    "security_mail",
    metadata,
    id_column(),
    time_column("created_at"),
    time_column("sent_at", nullable=True),
    Column("error_code", Text),
    Column("given_up", Integer, nullable=False),  # 1: the mail server refused it for good
)

security_alert = Table(
    "security_alert",
    metadata,
    id_column(),
    Column("kind", Text, nullable=False),
    Column("person_id", Uuid, nullable=False),
    Column("times", Integer, nullable=False),
    time_column("first_at"),
    time_column("last_at"),
    Column("mail_id", Uuid, ForeignKey("security_mail.id")),
    Column("acknowledged_by", Uuid),
    time_column("acknowledged_at", nullable=True),
    Column("note", LargeBinary),  # sealed under the site's key
    Index("ix_security_alert_person_id", "person_id", "kind", "first_at"),
    Index("ix_security_alert_mail_id", "mail_id"),
)
