"""`python -m benchmarks [MODULE …]`: run the measurements and write docs/benchmarks.md (only when all modules ran).

`python -m benchmarks load …` and `rooms …` drive loads of their own (`benchmarks/load.py`, `rooms.py`) and write nothing there.
"""

import importlib
import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

MODULES = ("streams", "ledger", "policy", "routing", "keys", "conversations", "uploads")
TARGET = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main(wanted: list[str]) -> None:
    """Measure, print, write."""
    if wanted[:1] in (["load"], ["rooms"]):
        importlib.import_module(f"benchmarks.{wanted[0]}").main(wanted[1:])
        return
    if unknown := [name for name in wanted if name not in MODULES]:
        sys.exit(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(MODULES)}, and load and rooms with --help of their own")
    rows: list[dict[str, Any]] = []
    began = time.monotonic()
    for name in wanted or MODULES:
        print(f"measuring {name} … ({time.monotonic() - began:.0f} s)", flush=True)
        for row in _measured(name):
            rows.append(row)
            print(f"  {row['name']}: {row['measured']} (budget {row['budget'] or '-'})", flush=True)
    text = render(rows)
    if wanted:
        print(text)
    else:
        _, heading, kept = TARGET.read_text("utf-8").partition("\n## ")  # sections of their own, such as the comparison with peers
        TARGET.write_text(text + heading + kept, "utf-8")
        print(f"written to {TARGET}")


def _measured(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a module. What fails takes only its own rows with it, and is named in their place."""
    module = importlib.import_module(f"benchmarks.{name}")
    for part in getattr(module, "PARTS", (partial(module.rows, None),)):
        try:
            yield from part()
        except Exception as error:  # noqa: BLE001 - said in the page, whatever it is
            traceback.print_exc()
            what = getattr(part, "__name__", name).strip("_")
            yield {
                "name": f"{name}: {what}",
                "budget": "",
                "measured": f"failed: {type(error).__name__}",
                "n": 0,
                "notes": str(error)[:200],
            }


def render(rows: list[dict[str, Any]]) -> str:
    """The table with the machine and the command beside it."""
    lines = [
        "# Benchmarks",
        "",
        f"`make bench` on {datetime.now(UTC):%Y-%m-%d}, {machine()}, load average {os.getloadavg()[2]:.1f} over the last "
        "15 minutes of it. Medians, with (minimum–maximum) over repetitions; where the machine is shared, "
        "read wall times as upper bounds and CPU per token as the figure to compare. Server, database, upstream and driver share the cores.",
        "",
        "| what | budget | measured | n | notes |",
        "|---|---|---|---|---|",
        *(f"| {r['name']} | {r['budget']} | {r['measured']} | {r['n']} | {r['notes']} |" for r in rows),
        "",
    ]
    return "\n".join(lines)


def machine() -> str:
    """What this ran on."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")),
        "unknown CPU",
    )
    return f"{os.cpu_count()} cores ({cpu}), Linux {platform.release()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main(sys.argv[1:])
