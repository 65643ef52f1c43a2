"""second factor and signatures."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_APPEND_ONLY = ("signed_version", "record_signature", "signature_revocation", "accountability_text", "accountability_acceptance")


def upgrade() -> None:
    _second_factor()
    _signatures()
    _revocations()
    _accountability()
    _guards()


def _second_factor() -> None:
    op.add_column("person", sa.Column("signing_hold", sa.Text))
    op.create_table(
        "second_factor",
        sa.Column("person_id", sa.Uuid, sa.ForeignKey("person.id", name="fk_second_factor_person_id"), primary_key=True),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("at_login", sa.Boolean, nullable=False),
        sa.Column("last_step", sa.BigInteger),
        sa.Column("confirmed_session", sa.Uuid),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True)),
    )


def _signatures() -> None:
    op.create_table(
        "signed_version",
        sa.Column("record_type", sa.Text, primary_key=True),
        sa.Column("record_id", sa.Text, primary_key=True),
        sa.Column("part", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "record_signature",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("record_type", sa.Text, nullable=False),
        sa.Column("record_id", sa.Text, nullable=False),
        sa.Column("part", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("meaning", sa.Text, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("signer_id", sa.Uuid, nullable=False),
        sa.Column("session_id", sa.Uuid, nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("statement", sa.LargeBinary, nullable=False),
        sa.Column("statement_sha256", sa.Text, nullable=False),
        sa.Column("reason", sa.LargeBinary),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.UniqueConstraint("event_id", name="uq_record_signature_event_id"),
    )
    once = ["record_type", "record_id", "part", "version", "signer_id", "meaning", "ordinal"]
    op.create_index("uq_record_signature_once", "record_signature", once, unique=True)
    op.create_index("ix_record_signature_session_id", "record_signature", ["session_id", "signed_at"])


def _revocations() -> None:
    op.create_table(
        "signature_revocation",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column(
            "signature_id", sa.Uuid, sa.ForeignKey("record_signature.id", name="fk_signature_revocation_signature_id"), nullable=False
        ),
        sa.Column("session_id", sa.Uuid, nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("statement", sa.LargeBinary, nullable=False),
        sa.Column("statement_sha256", sa.Text, nullable=False),
        sa.Column("reason", sa.LargeBinary, nullable=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.UniqueConstraint("signature_id", name="uq_signature_revocation_signature_id"),
        sa.UniqueConstraint("event_id", name="uq_signature_revocation_event_id"),
    )
    op.create_index("ix_signature_revocation_session_id", "signature_revocation", ["session_id", "revoked_at"])


def _accountability() -> None:
    op.create_table(
        "accountability_text",
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "accountability_acceptance",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("person_id", sa.Uuid, nullable=False),
        sa.Column(
            "text_sha256",
            sa.Text,
            sa.ForeignKey("accountability_text.sha256", name="fk_accountability_acceptance_text_sha256"),
            nullable=False,
        ),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.UniqueConstraint("event_id", name="uq_accountability_acceptance_event_id"),
    )
    name = "uq_accountability_acceptance_person_id_text_sha256"
    op.create_index(name, "accountability_acceptance", ["person_id", "text_sha256"], unique=True)


def _guards() -> None:
    """Refuse UPDATE, DELETE and TRUNCATE for everybody, as on the tables of the ledger (migration 0001)."""
    for table in _APPEND_ONLY:
        op.execute(f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION aliquot_append_only()")
        op.execute(f"CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION aliquot_append_only()")
        for trigger in ("refuse_change", "refuse_truncate"):  # also where a superuser sets session_replication_role
            op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
