"""message tree and sharing."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Siblings are found by their parent, the class of every message is known, conversations can be shared."""
    op.create_index("ix_message_parent", "message", ["conversation_id", "parent_id"])
    op.add_column(
        "message",
        sa.Column("patient_class", sa.String(length=10), nullable=False, server_default="undecided", comment="none, patient, undecided"),
    )
    op.create_index("ix_message_patient", "message", ["conversation_id"], postgresql_where=sa.text("patient_class <> 'none'"))
    _shares()
    op.execute(
        "SELECT procrastinate_defer_jobs_v1(ARRAY[ROW('default', 'chat.classify_messages', 0, NULL, NULL, '{}'::jsonb, NULL)"
        "::procrastinate_job_to_defer_v1]) WHERE EXISTS (SELECT FROM message)"
    )


def _shares() -> None:
    op.create_table(
        "conversation_share",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("made_by", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=True, comment="the share shows the branch up to this message; null when it follows"),
        sa.Column(
            "public", sa.Boolean(), nullable=False, comment="whoever has the link; otherwise the people of conversation_share_person"
        ),
        sa.Column("may_write", sa.Boolean(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of the token"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f("fk_conversation_share_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation_share")),
    )
    op.create_index("ix_conversation_share_conversation_id", "conversation_share", ["conversation_id"])
    op.create_index("uq_conversation_share_token_hash", "conversation_share", ["token_hash"], unique=True)
    op.create_table(
        "conversation_share_person",
        sa.Column("share_id", sa.Uuid(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["share_id"], ["conversation_share.id"], name=op.f("fk_conversation_share_person_share_id")),
        sa.PrimaryKeyConstraint("share_id", "person_id", name=op.f("pk_conversation_share_person")),
    )
    op.create_index("ix_conversation_share_person_person_id", "conversation_share_person", ["person_id"])
