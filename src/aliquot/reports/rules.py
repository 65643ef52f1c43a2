"""The rules the report speaks of, and the matrix of tests that came with this version: data files of the package."""

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from aliquot.reports.contracts import Clause, Matrix

_FOLDER = Path(__file__).parent
CLAUSES, MATRIX = _FOLDER / "clauses.toml", _FOLDER / "matrix.json"


@cache
def clauses() -> tuple[Clause, ...]:
    """In the order of the file."""
    return tuple(_clause(entry) for entry in tomllib.loads(CLAUSES.read_text("utf-8"))["clause"])


def _clause(entry: dict[str, Any]) -> Clause:
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return Clause(**given)


@cache
def matrix() -> Matrix:
    """As the package holds it."""
    return Matrix(**json.loads(MATRIX.read_text("utf-8")))
