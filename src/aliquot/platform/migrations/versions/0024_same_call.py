"""Finding a person's direct tool call that is made again while it waits."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_run_same_call",
        "run",
        ["person_id", "request_sha256"],
        postgresql_where=sa.text("kind = 'tool' AND state IN ('queued', 'running', 'waiting_approval')"),
    )
