"""folders and search."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Folders; archived and pinned conversations; the search index, and the job that fills it for what was said before."""
    _folders()
    _conversations()
    _index(
        "message_index",
        "message_id",
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_message_index_message_id"), ondelete="CASCADE"),
    )
    _index("title_index", "conversation_id", None)
    op.add_column("message_index", sa.Column("owner_id", sa.Uuid(), nullable=False, comment="of the conversation"))
    op.create_index("ix_message_index_conversation_id_subject", "message_index", ["conversation_id", "subject"])
    guests = sa.text("subject <> owner_id")
    op.create_index("ix_message_index_guests", "message_index", ["owner_id", "subject"], postgresql_where=guests)
    op.execute(
        "SELECT procrastinate_defer_jobs_v1(ARRAY[ROW('default', 'search.backfill', 0, NULL, NULL, '{}'::jsonb, NULL)"
        "::procrastinate_job_to_defer_v1]) WHERE EXISTS (SELECT FROM conversation)"
    )


def _folders() -> None:
    op.create_table(
        "folder",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("parent_folder_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.LargeBinary(), nullable=False, comment="sealed"),
        sa.Column("name_hash", sa.LargeBinary(), nullable=False, comment="keyed hash of the name without case, under the owner's key"),
        sa.Column("color", sa.String(length=7), nullable=True, comment="#rrggbb"),
        sa.Column("icon", sa.String(length=50), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["parent_folder_id"], ["folder.id"], name=op.f("fk_folder_parent_folder_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_folder")),
    )
    op.create_index("ix_folder_parent_folder_id", "folder", ["parent_folder_id"])
    names = ["owner_id", "parent_folder_id", "name_hash"]
    op.create_index("uq_folder_name", "folder", names, unique=True, postgresql_nulls_not_distinct=True)


def _conversations() -> None:
    op.add_column("conversation", sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("conversation", sa.Column("pinned_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("conversation", sa.Column("folder_id", sa.Uuid(), nullable=True))
    op.add_column(
        "conversation",
        sa.Column(
            "title_by_person", sa.Boolean(), nullable=False, server_default=sa.false(),
            comment="a title a person gave is never replaced",
        ),
    )  # fmt: skip
    op.execute("UPDATE conversation SET title_by_person = true WHERE title IS NOT NULL")
    op.create_foreign_key("fk_conversation_folder_id", "conversation", "folder", ["folder_id"], ["id"])
    op.create_index("ix_conversation_folder", "conversation", ["folder_id"], postgresql_where=sa.text("folder_id IS NOT NULL"))


def _index(name: str, key: str, of_message: sa.ForeignKeyConstraint | None) -> None:
    op.create_table(
        name,
        sa.Column(key, sa.Uuid(), nullable=False),
        *([] if of_message is None else [of_message, sa.Column("conversation_id", sa.Uuid(), nullable=False)]),
        sa.Column("subject", sa.Uuid(), nullable=False, comment="whose key the tokens are made with"),
        sa.Column("tokens", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.id"], name=op.f(f"fk_{name}_conversation_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{name}")),
    )
    op.create_index(f"ix_{name}_tokens", name, ["tokens"], postgresql_using="gin", postgresql_with={"fastupdate": "off"})
