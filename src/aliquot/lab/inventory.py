"""The instruments and protocols of a laboratory as one TOML file: read, compared with what is there, written. Pure.

`docs/laboratory.md` describes the file. What it does not name is left as it is.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Literal

from pydantic import ValidationError

from aliquot.lab.bodies import InstrumentBody, ProtocolBody, fields_of
from aliquot.lab.contracts import Instrument, Protocol
from aliquot.lab.errors import InventoryRefused
from aliquot.platform.http import Body

FORMAT = 1
BYTES_MAX = 4_000_000
_ENTRIES_MAX = 1_000
_ERRORS_SHOWN = 10
_LISTS = frozenset({"steps", "parameters"})
_KINDS: dict[str, type[Body]] = {"instrument": InstrumentBody, "protocol": ProtocolBody}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What a file says, in its order."""

    instruments: tuple[InstrumentBody, ...] = ()
    protocols: tuple[ProtocolBody, ...] = ()
    retired: frozenset[tuple[str, str]] = frozenset()
    """Kind and code of what is to be retired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a file would change of one instrument or protocol."""

    kind: Literal["instrument", "protocol"]
    code: str
    what: Literal["add", "change", "publish", "retire", "reinstate"]
    details: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        mark = {"add": "+", "publish": "+", "change": "~", "retire": "-", "reinstate": "+"}[self.what]
        return f"{mark} {self.kind} {self.code}: {self.what}" + (f" ({'; '.join(self.details)})" if self.details else "")


def read(raw: bytes) -> Inventory:
    """The contents of a file. Raises InventoryRefused, which names the entries that are wrong."""
    if len(raw) > BYTES_MAX:
        raise InventoryRefused(f"The file has more than {BYTES_MAX} bytes.")
    try:
        values = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, a number of thousands of digits, nested too deeply
        raise InventoryRefused(f"The file is not TOML in UTF-8: {error}") from error
    version = values.get("format")
    if (unknown := sorted(set(values) - {"format", *_KINDS})) or type(version) is not int or version != FORMAT:  # true is 1, too
        what = f"it has the unknown part {unknown[0]!r}" if unknown else f"it must begin with format = {FORMAT}"
        raise InventoryRefused(f"This is no file of a laboratory: {what}.")
    problems: list[str] = []
    retired: list[tuple[str, str]] = []
    found = {kind: _entries(kind, values.get(kind, []), problems, retired) for kind in _KINDS}
    for kind, bodies in found.items():
        codes = [body.code for body in bodies]
        problems += [f"{kind} {code} is there twice" for code in sorted({code for code in codes if codes.count(code) > 1})]
    if problems:
        more = f" (and {len(problems) - _ERRORS_SHOWN} more)" if len(problems) > _ERRORS_SHOWN else ""
        raise InventoryRefused("The file cannot be imported: " + "; ".join(problems[:_ERRORS_SHOWN]) + more + ".")
    return Inventory(instruments=tuple(found["instrument"]), protocols=tuple(found["protocol"]), retired=frozenset(retired))


def _entries(kind: str, values: Any, problems: list[str], retired: list[tuple[str, str]]) -> list[Any]:
    if not isinstance(values, list) or len(values) > _ENTRIES_MAX:
        problems.append(f"{kind} is no list of at most {_ENTRIES_MAX} entries [[{kind}]]")
        return []
    bodies = []
    for number, value in enumerate(values, 1):
        fields = dict(value) if isinstance(value, dict) else {}
        gone = fields.pop("retired", False)
        try:
            body = _KINDS[kind].model_validate(fields)
            if not isinstance(gone, bool):
                problems.append(f"{kind} {number}: retired is true or false")
        except ValidationError as error:
            problems += [_problem(f"{kind} {number}", fields, dict(one)) for one in error.errors(include_url=False, include_input=False)]
            continue
        retired += [(kind, body.code)] if gone else []  # type: ignore[attr-defined]  # both kinds have a code
        bodies.append(body)
    return bodies


def _problem(entry: str, fields: Mapping[str, Any], error: Mapping[str, Any]) -> str:
    """`protocol 2 (PCR-STD-35), steps 3 seconds: …`, steps and the like counted from 1."""
    code = fields.get("code")
    named = f" ({code})" if isinstance(code, str) and len(code) <= 32 and code.isprintable() else ""
    place = " ".join(str(part + 1) if isinstance(part, int) else str(part) for part in error["loc"])
    return f"{entry}{named}{', ' + place[:80] if place else ''}: {error['msg']}"


def differences(inventory: Inventory, instruments: Sequence[Instrument], protocols: Sequence[Protocol]) -> list[Difference]:
    """What the file changes of what is there, retired or not; empty when nothing. Raises InventoryRefused for a changed kind."""
    known, published = {one.code: one for one in instruments}, {one.code: one for one in protocols}
    gone, found = inventory.retired, list[Difference]()
    for instrument in inventory.instruments:
        found += _of_instrument(instrument, known.get(instrument.code), ("instrument", instrument.code) in gone)
    for protocol in inventory.protocols:
        found += _of_protocol(protocol, published.get(protocol.code), ("protocol", protocol.code) in gone)
    return found


def _of_instrument(body: InstrumentBody, present: Instrument | None, retired: bool) -> list[Difference]:
    if present is None:
        added = Difference(kind="instrument", code=body.code, what="add", details=(f"{body.kind}, {body.name}, {body.location}",))
        return [added, *_retiring("instrument", body.code, False, retired)]
    if present.kind != body.kind:
        raise InventoryRefused(f"{body.code} is a {present.kind} here and a {body.kind} in the file: a kind never changes.")
    wanted = asdict(body.new())
    names = ("name", "location", "driver", "settings", *(("last_service_on",) if body.last_service_on else ()))
    different = [name for name in names if wanted[name] != getattr(present, name)]
    details = [f"{name}: {_shown(getattr(present, name))} -> {_shown(wanted[name])}" for name in different]
    changed = [Difference(kind="instrument", code=body.code, what="change", details=tuple(details))] if details else []
    back, away = _order(_retiring("instrument", body.code, present.retired_at is not None, retired))
    return [*back, *changed, *away]


def _of_protocol(body: ProtocolBody, present: Protocol | None, retired: bool) -> list[Difference]:
    if body.version is not None:
        raise InventoryRefused(f"{body.code}: a file gives no versions; a changed protocol gets the next one.")
    was = present is not None and present.retired_at is not None
    back, away = _order(_retiring("protocol", body.code, was, retired))
    if present is not None and present.text == body.text():
        return [*back, *away]
    details = ("version 1",) if present is None else (f"version {present.version} -> {present.version + 1}", *_changed(present, body))
    if was and retired:  # a new version needs it in use for a moment: nobody could start it, but the record would say so
        raise InventoryRefused(f"{body.code} is retired and changed in the file. Take it into use again, or leave it as it is.")
    return [*back, Difference(kind="protocol", code=body.code, what="publish", details=details), *away]


def _changed(present: Protocol, body: ProtocolBody) -> list[str]:
    before, after = asdict(present.text), asdict(body.text())
    different = [name for name in after if before[name] != after[name]]
    whole = {name: f"{name}: {_shown(before[name])} -> {_shown(after[name])}" for name in different if name not in _LISTS}
    return [whole.get(name) or _parts(name, before[name], after[name]) for name in different]


def _parts(name: str, before: Sequence[Any], after: Sequence[Any]) -> str:
    """`steps: 2, 5 changed, 1 more`."""
    changed = [str(n) for n, (a, b) in enumerate(zip(before, after, strict=False), 1) if a != b]
    grown = len(after) - len(before)
    parts = [f"{', '.join(changed)} changed"] if changed else []
    parts += [f"{abs(grown)} {'more' if grown > 0 else 'fewer'}"] if grown else []
    return f"{name}: {', '.join(parts)}"


def _retiring(kind: Literal["instrument", "protocol"], code: str, was: bool, wanted: bool) -> list[Difference]:
    return [] if was == wanted else [Difference(kind=kind, code=code, what="retire" if wanted else "reinstate")]


def _order(changes: list[Difference]) -> tuple[list[Difference], list[Difference]]:
    """What is taken into use again comes before other changes, what is retired after them."""
    return [c for c in changes if c.what == "reinstate"], [c for c in changes if c.what == "retire"]


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=list)


def write(instruments: Sequence[Instrument], protocols: Sequence[Protocol]) -> str:
    """The file that `read` reads: importing it where it was made changes nothing."""
    lines = [f"format = {FORMAT}"]
    for instrument in instruments:
        values = {name: getattr(instrument, name) for name in ("code", "name", "kind", "location", "driver", "settings")}
        day = instrument.last_service_on
        values |= {"last_service_on": date.fromisoformat(day)} if day else {}
        lines += _table("instrument", values | _gone(instrument))
    for protocol in protocols:
        lines += _table("protocol", fields_of(protocol) | _gone(protocol))
    return "\n".join(lines) + "\n"


def _gone(entry: Instrument | Protocol) -> dict[str, bool]:
    return {"retired": True} if entry.retired_at is not None else {}


def _table(name: str, values: Mapping[str, Any]) -> list[str]:
    """An entry of the array `name`; arrays of tables in it (steps, parameters) are arrays of tables below it."""
    nested = {key: value for key, value in values.items() if isinstance(value, list) and value and isinstance(value[0], dict)}
    plain = {key: value for key, value in values.items() if key not in nested and value not in ([], {})}
    lines = ["", f"[[{name}]]", *(f"{key} = {_toml(value)}" for key, value in plain.items())]
    for key, entries in nested.items():
        for entry in entries:
            lines += ["", f"[[{name}.{key}]]", *(f"{k} = {_toml(v)}" for k, v in entry.items())]
    return lines


def _toml(value: Any) -> str:
    """Texts are printable (`bodies`), so JSON's way of writing one is TOML's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return value.isoformat() if isinstance(value, date) else json.dumps(value, ensure_ascii=False)
