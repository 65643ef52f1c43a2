"""The house rules no other tool checks: length of functions and files, commits only at the edge, the shape of a domain.

A line may be excepted with `# house: <reason>`; the number of exceptions may only fall (EXCEPTIONS_MAX).
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).parent.parent / "src"
FUNCTION_LINES_MAX = 40
FILE_LINES_MAX = 400
EXCEPTIONS_MAX = 10
COMMITTERS = {"platform/db.py", "platform/migrate.py"}


def main() -> int:
    """Print every breach; 1 when there are any."""
    breaches = [breach for path in sorted(SRC.rglob("*.py")) if "/versions/" not in str(path) for breach in _breaches(path)]
    excepted = sum(path.read_text("utf-8").count("# house:") for path in SRC.rglob("*.py"))
    if excepted > EXCEPTIONS_MAX:
        breaches.append(f"{excepted} exceptions, at most {EXCEPTIONS_MAX}")
    print("\n".join(breaches))
    return 1 if breaches else 0


def _breaches(path: Path) -> Iterator[str]:
    text = path.read_text("utf-8")
    lines = text.splitlines()
    name = path.relative_to(SRC)
    if len(lines) > FILE_LINES_MAX and "# house:" not in lines[0]:
        yield f"{name}: {len(lines)} lines, at most {FILE_LINES_MAX}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = _body_lines(node)
            if length > FUNCTION_LINES_MAX and "# house:" not in lines[node.lineno - 1]:
                yield f"{name}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES_MAX}"
    inside = str(name).removeprefix("aliquot/")
    if inside not in COMMITTERS:
        for number, line in enumerate(lines, 1):
            if re.search(r"\.commit\(\)", line) and "# house:" not in line:
                yield f"{name}:{number}: commits outside the edge"
    if name.name == "http.py" and re.search(r"from aliquot\.\w+\.(service|store|tables)", text):
        yield f"{name}: a route reaches behind the door (service, store or tables)"


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body without its docstring."""
    body = node.body
    first = body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


if __name__ == "__main__":
    sys.exit(main())
