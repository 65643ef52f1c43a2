"""`python -m evals [PATH]`: run the evaluations and write docs/evals.md. Without PATH only our own sets are measured."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.__main__ import machine
from evals import intent, routing

TARGET = Path(__file__).parent.parent / "docs" / "evals.md"


def main(path: str | None) -> None:
    """Measure, print, write."""
    data = Path(path) if path else None
    if data is None or not data.is_dir():
        print("no evaluation data given (make eval DATA=../shared/data): only the self-written sets are measured")
        data = None
    rows: list[dict[str, Any]] = [*routing.rows(data), *intent.rows(data)]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [
        "# Evaluations",
        "",
        f"`make eval DATA=../shared/data` on {datetime.now(UTC):%Y-%m-%d}, {machine()}. Every figure with its n and, in brackets, its 95 % interval.",
        "",
        *routing.SETS.splitlines(),
        "",
        *intent.SETS.splitlines(),
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(str(row.get(column, "")) for column in columns) + " |" for row in rows),
        "",
    ]
    TARGET.write_text("\n".join(lines), "utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
