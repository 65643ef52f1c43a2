"""Archives of records that retention deletes."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("retention_schedule", sa.Column("archive", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_table(
        "retention_archive",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("records", sa.Integer(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("state IN ('writing', 'written')", name=op.f("ck_retention_archive_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_archive")),
    )
    # What was written stays; what a crash left half-way may be changed and swept away.
    op.execute(
        "CREATE FUNCTION aliquot_keep_archive() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF OLD.state = 'writing' THEN IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END IF; "
        "RAISE EXCEPTION 'an archive that was written stays: % refused', TG_OP USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute("CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON retention_archive FOR EACH ROW EXECUTE FUNCTION aliquot_keep_archive()")
    op.execute(
        "CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON retention_archive FOR EACH STATEMENT EXECUTE FUNCTION aliquot_append_only()"
    )
