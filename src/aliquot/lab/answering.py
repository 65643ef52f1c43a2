"""A yes or a no to questions that want one, where what was read settles it. Pure.

A question comes in lower case, without courtesies, its names replaced by `z` and their argument (`is zinstrument ready`). It is
answered only when every word of it is understood: of `is zinstrument calibrated` or `… free tomorrow` nothing here knows the answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aliquot.lab.contracts import ACTIVE, FREE
from aliquot.lab.naming import a_kind
from aliquot.lab.rendering import count, duration, run_condition, when
from aliquot.lab.rules import words

_BUSY = frozenset({"warming_up", "running", "paused"})
_UP = _BUSY | FREE
_LISTED_MAX = 6


@dataclass(frozen=True, slots=True)
class _Predicate:
    """What is asked of an instrument, and which of its states say so. Of a state in neither set it cannot be said."""

    said: str
    yes: frozenset[str]
    no: frozenset[str]


def _states(*names: str) -> frozenset[str]:
    return frozenset(names)


_FOR_USE = r"(?: (?:for|to) (?:a|another|the next|a new|my|our)? ?run| for use| to use| to be used| for us)?"
_OVER = "(?:done|finished|completed|complete)"
_PREDICATES = (
    _Predicate(rf"(?:free|available|ready|unused|usable|vacant){_FOR_USE}", FREE, _BUSY | {"error", "offline"}),
    _Predicate("idle", _states("idle"), _BUSY | {"done", "error", "offline"}),
    _Predicate("(?:busy|in use|being used|used|occupied|taken)", _BUSY, FREE | {"error"}),
    _Predicate("running", _states("running"), FREE | {"warming_up", "paused", "error"}),
    _Predicate("(?:warming up|heating up)", _states("warming_up"), FREE | {"running", "paused", "error"}),
    _Predicate("(?:paused|on hold)", _states("paused"), FREE | {"running", "warming_up", "error"}),
    _Predicate(_OVER, _states("done"), _BUSY | {"error"}),
    _Predicate("(?:in error|broken|faulty|out of order|defective)", _states("error"), _UP),
    _Predicate("down", _states("error", "offline"), _UP),
    _Predicate("(?:ok|okay|all right|alright|fine|in (?:good )?order|working (?:properly|normally))", _UP, _states("error", "offline")),
    _Predicate("(?:work|working|functioning|operational)", _states("running", "warming_up"), _states("error", "offline")),
    _Predicate("offline", _states("offline"), _UP | {"error"}),
    _Predicate("(?:online|connected|reachable)", _UP | {"error"}, _states("offline")),
)
"""`working` may mean busy or sound: only where both are so, or neither, is there an answer. What is idle may have been stopped or have
failed before: whether it finished is not known from its state."""

_SOME_RUN = r"(?:there )?(?:anything|something|any runs?|a run|runs)(?: (?:running|going on|active|in progress|under way|ongoing))?"
_THINGS = "(?:instruments?|machines?|devices?)"
_SAID = r"(?P<said>[a-z ]+?)"
_ONE = re.compile(
    rf"(?:(?:is|are|does|do|has|have|did) )?(?P<whose>run on )?zinstrument {_SAID}"
    rf"|(?:can|could|may) (?:i|we|one|somebody|someone|anybody|anyone) (?P<use>use|have|get on|work on|work with|take) zinstrument"
    rf"|can zinstrument (?P<used>be used)|(?:(?:is|are) )?(?P<run>{_SOME_RUN}) on zinstrument"
)
_ANY = re.compile(
    rf"(?:(?:is|are) )?(?:there )?(?:(?:any|some|an|a)(?: of)? {_THINGS}|anything|something) {_SAID}"
    rf"|(?:is|are) there (?:any|some|an|a) (?P<front>[a-z]+) {_THINGS}"
)
_ALL = re.compile(rf"(?:(?:is|are|do) )?(?:(?:all|every|each)(?: of)? {_THINGS}|everything) {_SAID}")
_START = re.compile(
    r"(?:can|could|may) (?:i|we|one) (?:start|run|begin|launch|execute) z[a-z]+ on zinstrument"
    r"|is it possible to (?:start|run|begin|launch|execute) z[a-z]+ on zinstrument"
    r"|(?:can|could|may) z[a-z]+ be (?:started|run|begun|launched) on zinstrument|is zinstrument (?:ready|free|available) for z[a-z]+"
)
_FILLERS = re.compile(
    r"\b(?:still|already|yet|again|right now|just now|now|currently|presently|at the moment|at present"
    r"|in (?:the|our) lab(?:oratory)?|here|the|our|instrument(?= z))\b"
)
_CLAUSE_END = re.compile(r"[.:;](?:\s|$)")
_PAST = {"finish": "finished", "complete": "completed", "completed its run": "completed", "finished its run": "finished"}
"""After `has` and `did`: nothing is said of a past that is not kept."""


def about_instruments(data: Mapping[str, Any], question: str) -> str | None:
    """`data` of get_instrument_status."""
    items: Sequence[dict[str, Any]] = data["instruments"]
    plain = _plain(question)
    if not data["all"] and len(items) == 1:
        start = data.get("start")
        if start is not None:
            return _startable(items[0], start) if _START.fullmatch(plain) else None
        return _one(items[0], plain, may_start=data.get("may_start", False))
    if not data["all"] or not items:
        return None
    return _all(items, plain, more=data["more"]) or _any(items, plain, more=data["more"])


def _plain(question: str) -> str:
    return " ".join(_FILLERS.sub(" ", question.rstrip(" ?!.")).replace(",", " ").split())


def _predicate(said: str | None) -> _Predicate | None:
    return next((known for known in _PREDICATES if said and re.fullmatch(known.said, said)), None)


def _one(item: dict[str, Any], plain: str, *, may_start: bool) -> str | None:
    match = _ONE.fullmatch(plain)
    if match is None:
        return None
    past = plain.startswith(("has ", "have ", "did "))
    said = match["said"]
    if past:
        said = _PAST.get(said or "", said if said in {"finished", "completed"} else None)
        if plain.startswith("did ") and said is None:
            return None
    predicate = _predicate("free" if match["use"] or match["used"] else "busy" if match["run"] else said)
    if predicate is None or (match["whose"] and (predicate.said != _OVER or item["state"] not in _BUSY | {"done"})):
        return None  # of a run that is over and cleared away, the instrument does not know how it ended
    if match["use"] and item["state"] in predicate.yes and not may_start:
        return f"No, your role may not start runs; {item['code']} {_condition(item)}."
    if item["state"] in predicate.yes:
        ready = " and ready for a run" if item["state"] == "idle" and predicate.yes == FREE else ""
        return f"Yes, {item['code']} {_condition(item)}{ready}."
    return f"No, {item['code']} {_condition(item)}." if item["state"] in predicate.no else None


def _condition(item: Mapping[str, Any]) -> str:
    """`is idle`, `is in error: rotor imbalance`, `is running R-2026-0012 until about …`: what follows an instrument's code."""
    state, run, error = item["state"], item["run"], item["error"]
    if state == "done":
        return "has finished its run and is free; its samples may still be inside"
    if state in _BUSY and run is not None:
        how = {"running": "is running", "warming_up": "is warming up for", "paused": "is paused with"}[state]
        if not run["ends_at"]:
            return f"{how} {run['code']}"
        end, left = when(run["ends_at"]), duration(run["remaining_seconds"])
        return f"{how} {run['code']}" + (
            f", which ends about {end}, in {left}" if state == "warming_up" else f" until about {end}, for {left}"
        )
    if state in {"error", "offline"} and error:
        return f"is {words(state)}: {_lower(_CLAUSE_END.split(error, maxsplit=1)[0])}"  # the rest is told below the answer
    return f"is {words(state)}"


def _lower(text: str) -> str:
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _startable(item: Mapping[str, Any], start: Mapping[str, Any]) -> str:
    """Whether a start could be asked for as things stand. Never a promise: the policy and a person decide when it is."""
    kinds = " or ".join(a_kind(kind) for kind in start["kinds"])
    if not start["fits"]:
        return f"No, {start['protocol']} runs on {kinds}; {item['code']} is {a_kind(item['kind'])}."
    if start["retired"]:
        return f"No, {start['protocol']} is retired."
    if item["state"] not in FREE:
        return f"No, {item['code']} {_condition(item)}."
    if not start["role_allows"]:
        return f"No, your role may not start runs; {item['code']} {_condition(item)}."
    fits = f"{item['code']} {_condition(item)}, and {start['protocol']} runs on {kinds}"
    return f"Yes, as things stand: {fits}. The policy still has to allow a start, and a person to confirm it."


def _judged(items: Sequence[dict[str, Any]], predicate: _Predicate) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Those it is true of, those it is not, and of how many it cannot be said."""
    yes = [item for item in items if item["state"] in predicate.yes]
    no = [item for item in items if item["state"] in predicate.no]
    return yes, no, len(items) - len(yes) - len(no)


def _all(items: Sequence[dict[str, Any]], plain: str, *, more: bool) -> str | None:
    match = _ALL.fullmatch(plain)
    predicate = _predicate(match["said"]) if match is not None else None
    if match is None or predicate is None:
        return None
    yes, no, unsure = _judged(items, predicate)
    if no:
        return f"No: {_listed(no)}."
    return None if unsure or more else f"Yes: {_listed(yes)}."


def _any(items: Sequence[dict[str, Any]], plain: str, *, more: bool) -> str | None:
    match = _ANY.fullmatch(plain)
    said = (match["said"] or match["front"]) if match is not None else None
    if said == "running" and match is not None and not re.search(_THINGS, plain):
        said = "busy"  # `is anything running` is about runs: one that warms up is one
    predicate = _predicate(said)
    if predicate is None:
        return None
    yes, no, unsure = _judged(items, predicate)
    if yes:
        return f"Yes: {_listed(yes)}."
    return None if unsure or more else f"No: {_listed(no)}."


def _listed(items: Sequence[Mapping[str, Any]]) -> str:
    shown = [f"{item['code']} {_condition(item)}" for item in items[:_LISTED_MAX]]
    left = len(items) - len(shown)
    return "; ".join(shown) + (f"; and {left} more" if left else "")


_RUN = re.compile(r"(?P<tense>is|was|has|did) (?:run )?zrun (?P<said>[a-z ]+)")
_RunPredicates = tuple[tuple[str, frozenset[str], frozenset[str]], ...]
_RUN_ENDS: _RunPredicates = (
    ("(?:done|finished|finish|complete|completed|ready)", _states("done"), ACTIVE | {"failed", "stopped"}),
    ("(?:over|ended|end)", _states("done", "failed", "stopped"), ACTIVE),
    ("(?:failed|fail|crash|crashed)", _states("failed"), ACTIVE | {"done", "stopped"}),
    ("(?:stopped|aborted|cancelled|canceled|terminated)", _states("stopped"), ACTIVE | {"done", "failed"}),
    ("(?:successful|succeed|succeeded)", _states(), _states("failed", "stopped")),
)
"""An end stays; what else a run once was is not kept: of `was it paused` nothing is said. Whether a finished run was a success is for a
person to judge."""
_RUN_PREDICATES: _RunPredicates = (
    *_RUN_ENDS,
    ("running", _states("running"), (ACTIVE - {"running"}) | {"done", "failed", "stopped"}),
    ("(?:active|ongoing|in progress|going on|going|under way)", ACTIVE, _states("done", "failed", "stopped")),
    ("(?:paused|on hold)", _states("paused"), (ACTIVE - {"paused"}) | {"done", "failed", "stopped"}),
    ("(?:warming up|heating up)", _states("warming_up"), (ACTIVE - {"warming_up"}) | {"done", "failed", "stopped"}),
)


def about_run(data: Mapping[str, Any], question: str) -> str | None:
    """`data` of get_run."""
    match = _RUN.fullmatch(_plain(question))
    if match is None or data["asked"] != data["code"]:
        return None
    for said, yes, no in _RUN_PREDICATES if match["tense"] == "is" else _RUN_ENDS:
        if re.fullmatch(said, match["said"]) and data["state"] in yes | no:
            return f"{'Yes' if data['state'] in yes else 'No'}, {data['code']} {run_condition(dict(data))}."
    return None


def about_runs(data: Mapping[str, Any], question: str) -> str | None:
    """`data` of get_run_history, when it was asked what is going on."""
    where = " on zinstrument" if data["instrument"] else ""
    asked = re.fullmatch(rf"(?:(?:is|are) )?{_SOME_RUN}{where}", _plain(question))
    if asked is None or data["state"] not in {"running", "active"} or data["since"] or data["until"]:
        return None
    runs, others = data["runs"], data.get("other_active", [])
    if runs:
        more = " at least" if data["more"] else ""
        return f"Yes,{more} {count(len(runs), 'run')}: {_runs(runs)}."
    return f"No, but {_runs(others)}." if others else "No, nothing is running."


def _runs(runs: Sequence[Mapping[str, Any]]) -> str:
    shown = [f"{run['code']} on {run['instrument']} is {words(run['state'])}" for run in runs[:_LISTED_MAX]]
    return "; ".join(shown) + (f"; and {len(runs) - len(shown)} more" if len(runs) > len(shown) else "")
