"""What the compliance report is put together from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Format = Literal["json", "pdf"]
NO_EVIDENCE = "no evidence in this period"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """A rule the report has a section for (`clauses.toml`)."""

    id: str
    family: str
    title: str
    asks: str
    """Our own short reading, never the text of the rule."""
    supports: tuple[str, ...]
    events: tuple[str, ...]
    """Actions of the audit log that are evidence."""
    facts: tuple[str, ...]
    remains: tuple[str, ...]
    """What stays with the laboratory."""
    unsupported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something found at this site. `of` says whether it is about the period or about the moment of the report."""

    label: str
    value: str
    details: tuple[str, ...] = ()
    of: Literal["period", "now"] = "now"
    found: bool = True
    """False when there was nothing: then it is no evidence."""
    events: tuple[str, ...] = ()
    """Ids of the events it was read from; the report holds their inclusion proofs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """What a reviewer should look at. `fault`: something contradicts the record or a control is broken."""

    code: str
    severity: Literal["fault", "look"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The events with since <= time < until, and how many there were of each action."""

    since: datetime
    until: datetime
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Which tests exercise which rule, with the outcome of the run before the release (`matrix.json`)."""

    version: str
    commit: str
    date: str
    rules: Mapping[str, Mapping[str, str]]
    """Rule → test id → `passed`, `failed`, `not run`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A finished report."""

    data: bytes
    media_type: str
    name: str
    sha256: str
    """Of the canonical bytes of its `document`; the same for both formats of one report."""
    document: Mapping[str, Any]
