"""retention and erasure."""

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Reserved in this session; filled by its domain."""
