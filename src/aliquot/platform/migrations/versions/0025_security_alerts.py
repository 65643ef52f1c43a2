"""Security alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "security_watch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_security_watch_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_watch")),
    )
    # What happened before this version is history: nobody is told of it now.
    op.execute("INSERT INTO security_watch (id, seq) SELECT 1, coalesce((SELECT size FROM audit_state WHERE id = 1), 0)")
    op.create_table(
        "security_mail",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.Column("sent_at", _AT, nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("given_up", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_mail")),
    )
    op.create_table(
        "security_alert",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("first_at", _AT, nullable=False),
        sa.Column("last_at", _AT, nullable=False),
        sa.Column("mail_id", sa.Uuid(), nullable=True),
        sa.Column("acknowledged_by", sa.Uuid(), nullable=True),
        sa.Column("acknowledged_at", _AT, nullable=True),
        sa.Column("note", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["mail_id"], ["security_mail.id"], name=op.f("fk_security_alert_mail_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_security_alert")),
    )
    op.create_index("ix_security_alert_person_id", "security_alert", ["person_id", "kind", "first_at"])
    op.create_index("ix_security_alert_mail_id", "security_alert", ["mail_id"])
