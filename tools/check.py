"""`make check`: format, lint, types, import rules, house rules, migrations match the tables. Runs all, fails if any does."""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent

STEPS = (
    ("format", [BIN / "ruff", "format", "--check", "--quiet", "."]),
    ("lint", [BIN / "ruff", "check", "--quiet", "."]),
    ("types", [BIN / "mypy"]),
    ("import ladder", [BIN / "lint-imports", "--no-cache"]),
    ("doors", [BIN / "tach", "check"]),
    ("house rules", [sys.executable, "tools/house_rules.py"]),
    ("map of the code", [sys.executable, "tools/map.py", "--check"]),
    ("rule matrix", [sys.executable, "tools/rule_matrix.py", "--check"]),
    ("migrations match", [sys.executable, "tools/migrations_match.py"]),
)


def main() -> int:
    """Run every step; the exit code is the number of failing ones, at most 1."""
    failed = []
    for name, command in STEPS:
        started = time.monotonic()
        result = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False)
        print(f"{'ok    ' if result.returncode == 0 else 'FAILED'} {name} ({time.monotonic() - started:.1f} s)")
        if result.returncode != 0:
            failed.append(name)
            print(result.stdout[-6000:], result.stderr[-6000:], sep="\n")
    print("check: all is well" if not failed else f"check: {', '.join(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
