"""Fails when the tables in the code and the migrated schema disagree. Uses a throw-away embedded database."""

import importlib
import pkgutil
import sys
import tempfile
from pathlib import Path

import aliquot
from aliquot.platform import migrate
from aliquot.platform.postgres import EmbeddedPostgres


def main() -> int:
    """Print the differences; 1 when there are any."""
    for module in pkgutil.walk_packages(aliquot.__path__, "aliquot."):
        if module.name.split(".")[-1] == "tables" or module.name in ("aliquot.platform.limits", "aliquot.platform.idempotency"):
            importlib.import_module(module.name)
    with tempfile.TemporaryDirectory() as folder:
        postgres = EmbeddedPostgres(Path(folder) / "pg", superuser_password="check", durable=False)
        postgres.start()
        try:
            owner = postgres.ensure_database("owner")
            migrate.upgrade(owner, migrate.Logins(app="a", sequencer="s", reader="r"))
            found = migrate.differences(owner)
        finally:
            postgres.stop()
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
