"""What a bundle says besides Cedar (`rules.json`): limits on how often, and bands of risk. Pure.

Limits are declared here and not written in Cedar, because counting needs exact, shared state: a policy language that only sees
one request cannot count, and a count handed in as a fact would be a race between two requests. Time of day is a property of
one request, so it is a fact (`hour`, `minute_of_day`, `weekday`) that policies use.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

from aliquot.policy.contracts import Band, Effect, Query

Per = Literal["person", "role", "instrument", "site"]

OBLIGATIONS = ("sign", "two_person", "confirm", "own_decision", "reason_required", "training_valid")
"""All obligations the engine enforces, strongest first."""

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DAYS_MAX = 31
_COUNT_MAX = 10_000
_LIMITS_MAX = 200
_LIMIT_FIELDS = {"id", "reason", "count", "seconds", "per", "tools", "effects", "roles"}
_BANDS: tuple[Band, ...] = ("low", "medium", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most `count` calls in any `seconds`, for each `per`. Empty `tools`, `effects` or `roles` mean all."""

    id: str
    reason: str
    count: int
    seconds: int
    per: Per
    tools: frozenset[str] = frozenset()
    effects: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()

    def applies(self, query: Query) -> bool:
        tool = query.tool
        return (
            (not self.tools or tool.name in self.tools)
            and (not self.effects or tool.effect in self.effects)
            and (not self.roles or not self.roles.isdisjoint(query.principal.roles))
        )

    def counted(self, query: Query) -> list[str]:
        """Whose counters one call is counted on. An instrument nobody named is one of its own, so that leaving it out gains nothing."""
        if self.per == "person":
            return [str(query.principal.id)]
        if self.per == "role":
            return sorted(self.roles & query.principal.roles or query.principal.roles)
        if self.per == "instrument":
            return [str(query.facts.get("instrument") or query.arguments.get("instrument") or "").strip().casefold()]
        return ["site"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskBand:
    """From `start` on, risk is called `name` and demands these obligations."""

    name: Band
    start: int
    obligations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    limits: tuple[Limit, ...] = ()
    bands: tuple[RiskBand, ...] = (RiskBand(name="medium", start=30), RiskBand(name="high", start=60))

    def limits_on(self, query: Query) -> list[Limit]:
        return [limit for limit in self.limits if limit.applies(query)]

    def band(self, risk: int) -> RiskBand:
        """The band a risk of 0 to 100 is in."""
        return next((band for band in reversed(self.bands) if risk >= band.start), RiskBand(name="low", start=0))


def parse_rules(value: Mapping[str, Any], problems: list[str], reserved: Collection[str]) -> Rules:
    """The rules, with every fault added to `problems`. Ids must differ from those of the policies (`reserved`)."""
    if unknown := sorted(set(value) - {"limits", "bands"}):
        problems.append(f"rules: nothing enforces {unknown[0]!r}")
    limits = value.get("limits", [])
    if not isinstance(limits, list) or len(limits) > _LIMITS_MAX:
        problems.append(f"rules: limits must be a list of at most {_LIMITS_MAX}")
        limits = []
    found: dict[str, Limit] = {}
    for item in limits:
        limit = _limit(item, problems)
        if limit is None:
            continue
        if limit.id in found or limit.id in reserved:
            problems.append(f"rules: the id {limit.id} is used twice or reserved")
        found[limit.id] = limit
    bands = _bands(value["bands"], problems) if "bands" in value else Rules().bands
    return Rules(limits=tuple(found[limit_id] for limit_id in sorted(found)), bands=bands)


def _limit(item: Any, problems: list[str]) -> Limit | None:
    name = item.get("id") if isinstance(item, dict) else None
    if not isinstance(name, str) or not _ID.fullmatch(name):
        problems.append(f"rules: a limit has no usable id (got {name!r})")
        return None
    faults = [f"nothing enforces {key!r}" for key in sorted(set(item) - _LIMIT_FIELDS)]
    reason = item.get("reason")
    if not isinstance(reason, str) or not 1 <= len(reason.strip()) <= 500:
        faults.append("it has no usable reason")
    for key, most in (("count", _COUNT_MAX), ("seconds", _DAYS_MAX * 86_400)):
        number = item.get(key)
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
            faults.append(f"{key} must be a whole number of 1 to {most}")
    if item.get("per") not in get_args(Per):
        faults.append(f"per must be one of {', '.join(get_args(Per))}")
    faults += [f"{key} must be a list of names" for key in ("tools", "effects", "roles") if not _names(item.get(key, []))]
    if not faults and (wrong := sorted(set(item.get("effects", [])) - set(get_args(Effect)))):
        faults.append(f"there is no effect {wrong[0]!r}")
    problems += [f"rules: limit {name}: {fault}" for fault in faults]
    if faults:
        return None
    sets = {key: frozenset(item.get(key, [])) for key in ("tools", "effects", "roles")}
    return Limit(id=name, reason=item["reason"].strip(), count=item["count"], seconds=item["seconds"], per=item["per"], **sets)


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and 0 < len(name) <= 200 for name in value)


def _bands(value: Any, problems: list[str]) -> tuple[RiskBand, ...]:
    found: list[RiskBand] = []
    for name in _BANDS[1:]:
        item = value.get(name) if isinstance(value, dict) else None
        start, obligations = (item.get("from"), item.get("obligations", [])) if isinstance(item, dict) else (None, [])
        if not isinstance(start, int) or isinstance(start, bool) or not 1 <= start <= 100:
            problems.append(f"rules: the band {name} needs `from`, a whole number of 1 to 100")
            continue
        if not _names(obligations) or set(obligations) - set(OBLIGATIONS):
            problems.append(f"rules: the band {name} names an unknown obligation")
            continue
        found.append(RiskBand(name=name, start=start, obligations=tuple(obligations)))
    if isinstance(value, dict) and (unknown := sorted(set(value) - set(_BANDS[1:]))):
        problems.append(f"rules: there is no band {unknown[0]!r}")
    if _falling([band.start for band in found]):
        problems.append("rules: the band high must start above medium")
    return tuple(found)


def _falling(starts: Sequence[int]) -> bool:
    return any(later <= earlier for earlier, later in pairwise(starts))
