"""feedback and usage."""

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Reserved in this session; filled by its domain."""
