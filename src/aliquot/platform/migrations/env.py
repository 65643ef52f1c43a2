"""Alembic environment: always run from `platform.migrate`, which passes an open connection."""

from alembic import context

from aliquot.platform.db import metadata


def include_name(name: str | None, kind: str, _parents: object) -> bool:
    """Leave procrastinate's own tables out of the comparison."""
    return not (kind == "table" and name is not None and name.startswith("procrastinate_"))


context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, include_name=include_name, compare_type=True,
    transaction_per_migration=False,
)  # fmt: skip
with context.begin_transaction():
    context.run_migrations()
