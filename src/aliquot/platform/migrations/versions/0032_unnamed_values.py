"""How many values of a call's arguments nobody had named, stored with the decision about it."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("policy_decision", sa.Column("unnamed_values", sa.SmallInteger(), nullable=True))
