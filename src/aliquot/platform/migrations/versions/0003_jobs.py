"""Tables, types and functions of procrastinate (durable jobs), as its pinned version ships them."""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The driver's own cursor: the script has several statements and contains `%` and `:` literally."""
    connection = op.get_bind().connection.dbapi_connection
    if connection is None:
        raise RuntimeError("no database connection")
    connection.cursor().execute(SchemaManager.get_schema())
