"""What a message asks for, stored with its run and with the decisions it led to."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    asks = "what the message asks for (routing.contracts.IntentName); null without a message"
    op.add_column("run", sa.Column("intent", sa.String(length=16), nullable=True, comment=asks))
    op.add_column("run", sa.Column("intent_confidence", sa.Float(), nullable=True))
    op.add_column("policy_decision", sa.Column("intent", sa.Text(), nullable=True))
