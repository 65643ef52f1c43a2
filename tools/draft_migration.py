"""Print the body of a migration that brings an empty or older database to what one domain's tables.py says.

usage: python tools/draft_migration.py DOMAIN      (e.g. chat) — paste into platform/migrations/versions, then read it.
"""

import importlib
import sys

import sqlalchemy as sa
from alembic.autogenerate import render_python_code
from alembic.operations import ops


def main(module: str) -> None:
    """Render CREATE TABLE and CREATE INDEX operations for the tables of `module`."""
    before = set(sa_metadata().tables)
    importlib.import_module(module)
    metadata = sa_metadata()
    operations: list[ops.MigrateOperation] = []
    for table in metadata.sorted_tables:
        if table.name in before:
            continue
        operations.append(ops.CreateTableOp.from_table(table))
        operations.extend(ops.CreateIndexOp.from_index(index) for index in sorted(table.indexes, key=lambda i: str(i.name)))
    print(render_python_code(ops.UpgradeOps(operations)))


def sa_metadata() -> sa.MetaData:
    from aliquot.platform.db import metadata  # noqa: PLC0415 - read after the tables were added

    return metadata


if __name__ == "__main__":
    main(f"aliquot.{sys.argv[1]}.tables" if "." not in sys.argv[1] else sys.argv[1])
