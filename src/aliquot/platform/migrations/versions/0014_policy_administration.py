"""policy administration."""

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Reserved in this session; filled by its domain."""
