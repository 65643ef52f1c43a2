"""SQLAlchemy Core writes the SQL, psycopg runs it: here a statement becomes text and parameters, and rows become `Row`s.

SQLAlchemy's own execution costs three times the CPU of psycopg's pipeline for the short transactions of this server (ADR 5).
Compiled statements are cached by SQLAlchemy's cache key, as its engine does; that entrance is not public, which is why the
version is pinned and `tests/platform/test_sql.py` compares with the engine.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import ref

from psycopg.adapt import PyFormat
from sqlalchemy import Executable, LargeBinary, Row, Table, TextClause, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg
from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.util import LRUCache

Params = Mapping[str, Any]
Processors = Mapping[str, Callable[[Any], Any]]

_COMPILED_MAX = 2_000
_PLACEHOLDER = re.compile(r"%(?:%|\((?P<name>[^)]+)\)s)")
_FIXED = "_aliquot_fixed"


class _Bytes(LargeBinary):
    """psycopg takes `bytes` as they are; wrapping them first costs more than sending them."""

    def bind_processor(self, dialect: Any) -> None:
        del dialect


class _Dialect(PGDialectAsync_psycopg):
    supports_statement_cache = True
    colspecs = {**PGDialectAsync_psycopg.colspecs, LargeBinary: _Bytes}


_dialect = _Dialect()  # type: ignore[no-untyped-call]
_dialect.dbapi = _Dialect.import_dbapi()  # type: ignore[no-untyped-call]
_compiled: Any = LRUCache(_COMPILED_MAX)


class Plan(NamedTuple):
    """A statement as PostgreSQL reads it."""

    query: bytes
    names: tuple[str, ...]
    """Which parameter stands for `$1`, `$2`, …; empty where they are given in order."""
    formats: tuple[PyFormat, ...]


@lru_cache(maxsize=_COMPILED_MAX)
def _plan(sql: str) -> Plan:
    """SQL in psycopg's form, with `%(name)s` and `%%`, as a plan: a name that comes twice is one parameter."""
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        name = found["name"]
        return "%" if name is None else f"${names.setdefault(name, len(names) + 1)}"

    query = _PLACEHOLDER.sub(number, sql)
    return Plan(query.encode(), tuple(names), (PyFormat.AUTO,) * len(names))


@lru_cache(maxsize=200)
def positional(sql: str, count: int) -> Plan:
    """SQL with `$1` … as a plan."""
    return Plan(sql.encode(), (), (PyFormat.AUTO,) * count)


class _Fixed:
    """A statement that is run again and again: what does not depend on its parameters."""

    __slots__ = ("of", "plan", "processors", "values")

    def __init__(self, statement: Executable) -> None:
        self.of = ref(statement)  # SQLAlchemy copies a statement's attributes into those derived from it
        self.plan: Plan | None = None
        self.values: dict[str, Any] = {}
        self.processors: Processors = {}


def render(statement: Executable, params: Params | None = None) -> tuple[Plan, list[Any]]:
    """The statement as PostgreSQL reads it and its parameters in order.

    A statement that is kept (a module's constant) costs a copy of its parameters from the third time on: what was compiled stays with
    the object. One built for every call is looked up by SQLAlchemy's cache key, which costs as much as running it.
    """
    fixed: _Fixed | None = statement.__dict__.get(_FIXED)
    if fixed is None or fixed.of() is not statement:
        statement.__dict__[_FIXED] = _Fixed(statement)
        plan, values = _rendered(statement, params, None)
    elif fixed.plan is None:
        plan, values = _rendered(statement, params, fixed)
    else:
        plan = fixed.plan
        values = {**fixed.values, **params} if params else fixed.values.copy()
        for name, process in fixed.processors.items():
            values[name] = process(values[name])
    return plan, [values[name] for name in plan.names]


def _rendered(statement: Executable, params: Params | None, fixed: _Fixed | None) -> tuple[Plan, dict[str, Any]]:
    compile_cached: Any = statement._compile_w_cache  # not public, see above
    compiled, extracted, collected, _ = compile_cached(_dialect, compiled_cache=_compiled, column_keys=sorted(params) if params else [])
    values: dict[str, Any] = compiled.construct_params(
        params or None, extracted_parameters=extracted, escape_names=False, _collected_params=collected
    )
    sql: str = compiled.string
    processors: Processors = compiled._bind_processors
    if fixed is not None and not compiled.post_compile_params and not statement.is_dml:  # a change may have its columns from `params`
        own = compiled.construct_params(None, extracted_parameters=extracted, escape_names=False, _check=False)
        needed = {name for bind, name in compiled.bind_names.items() if bind.required}  # never NULL because somebody forgot it
        fixed.values = {name: value for name, value in own.items() if name not in needed}
        fixed.processors = {name: process for name, process in processors.items() if name in values}
        fixed.plan = _plan(sql)
    if compiled.post_compile_params:  # IN (…): one parameter per value
        expanded = compiled._process_parameters_for_postcompile(values)
        sql, values = expanded.statement, {**values, **expanded.parameters}
        processors = {**processors, **expanded.processors}
    for name, process in processors.items():
        if name in values:
            values[name] = process(values[name])
    return _plan(sql), values


@lru_cache(maxsize=200)
def insert_text(table: str, columns: tuple[str, ...], ending: str = "") -> TextClause:
    """`INSERT` of one row as fixed text, its parameters called like the columns: for the hot ones, where building the expression costs
    more than running it. Names come from code, never from outside; parameters go to the driver as they are (no JSON columns)."""
    names, values = ", ".join(columns), ", ".join(f":{column}" for column in columns)
    return text(f"INSERT INTO {table} ({names}) VALUES ({values}) {ending}")  # noqa: S608 - see above


@lru_cache(maxsize=200)
def update_text(table: str, columns: tuple[str, ...], where: str, ending: str = "") -> TextClause:
    """`UPDATE` as fixed text, as `insert_text`; `where` may have parameters of its own."""
    changes = ", ".join(f"{column} = :{column}" for column in columns)
    return text(f"UPDATE {table} SET {changes} WHERE {where} {ending}")  # noqa: S608 - see above


class Result(IteratorResult[Any]):
    """What a statement gave: its rows, and how many it touched."""

    def __init__(self, names: tuple[str, ...], rows: Sequence[Sequence[Any]], rowcount: int) -> None:
        super().__init__(_metadata(names), iter(rows))
        self.rowcount = rowcount


def row_of(table: Table, values: Params) -> Row[Any]:
    """The row that inserting `values` makes, for whoever need not wait for it. A column that is not among them is NULL; one that the
    database would fill in has to be given (KeyError)."""
    names, filled_in = _columns(table)
    given = [values[name] if name in filled_in else values.get(name) for name in names]
    return Result(names, [tuple(given)], 1).one()


@lru_cache(maxsize=200)
def _columns(table: Table) -> tuple[tuple[str, ...], frozenset[str]]:
    """The names of a table's columns, and of those with a default."""
    columns = table.columns.values()
    return tuple(c.name for c in columns), frozenset(c.name for c in columns if c.server_default is not None)


@lru_cache(maxsize=_COMPILED_MAX)
def _metadata(names: tuple[str, ...]) -> SimpleResultMetaData:
    return SimpleResultMetaData(names)
