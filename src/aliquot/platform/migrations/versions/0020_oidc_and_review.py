"""Single sign-on, and the review queue."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _single_sign_on()
    _review()


def _single_sign_on() -> None:
    op.create_table(
        "oidc_flow",
        sa.Column("state_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("browser_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state_sha256", name=op.f("pk_oidc_flow")),
    )
    op.create_index("ix_oidc_flow_expires_at", "oidc_flow", ["expires_at"], unique=False)
    op.create_table(
        "oidc_identity",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("subject_index", sa.LargeBinary(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("auth_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_oidc_identity_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oidc_identity")),
        sa.UniqueConstraint("subject_index", name=op.f("uq_oidc_identity_subject_index")),
    )
    op.create_index("ix_oidc_identity_person_id", "oidc_identity", ["person_id"], unique=False)
    op.create_table(
        "oidc_link_grant",
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_oidc_link_grant_person_id")),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_oidc_link_grant")),
    )
    op.create_table(
        "oidc_pass",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("challenge", sa.Text(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["identity_id"], ["oidc_identity.id"], name=op.f("fk_oidc_pass_identity_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_oidc_pass_person_id")),
        sa.ForeignKeyConstraint(["session_id"], ["login_session.id"], name=op.f("fk_oidc_pass_session_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_oidc_pass")),
    )
    op.create_index("ix_oidc_pass_expires_at", "oidc_pass", ["expires_at"], unique=False)
    op.create_table(
        "oidc_session",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["identity_id"], ["oidc_identity.id"], name=op.f("fk_oidc_session_identity_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["session_id"], ["login_session.id"], name=op.f("fk_oidc_session_session_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_oidc_session")),
    )
    op.create_index("ix_oidc_session_identity_id", "oidc_session", ["identity_id"], unique=False)


def _review() -> None:
    op.create_table(
        "review_item",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("comment", sa.LargeBinary(), nullable=True),
        sa.Column("correction", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_item")),
    )
    op.create_index("ix_review_item_message_id", "review_item", ["message_id"], unique=False)
    op.create_index("ix_review_item_state", "review_item", ["state", "id"], unique=False)
    op.create_index("uq_review_item_open", "review_item", ["message_id"], unique=True, postgresql_where=sa.text("state = 'open'"))
    op.create_table(
        "review_flag",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("comment", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["review_item.id"], name=op.f("fk_review_flag_item_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_flag")),
    )
    op.create_index("ix_review_flag_item_id", "review_flag", ["item_id"], unique=False)
    op.create_index(
        "uq_review_flag_check", "review_flag", ["item_id", "source", "reason"], unique=True, postgresql_where=sa.text("person_id IS NULL")
    )
    op.create_index(
        "uq_review_flag_person", "review_flag", ["item_id", "person_id"], unique=True, postgresql_where=sa.text("person_id IS NOT NULL")
    )
    # A flag stays as it was given, as rows of the ledger do (migration 0001).
    for event, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
        name = "refuse_truncate" if event == "TRUNCATE" else "refuse_change"
        op.execute(f"CREATE TRIGGER {name} BEFORE {event} ON review_flag FOR EACH {each} EXECUTE FUNCTION aliquot_append_only()")
        op.execute(f"ALTER TABLE review_flag ENABLE ALWAYS TRIGGER {name}")
