"""second factor and signatures."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _second_factor()


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
