"""Asking another bundle what was asked before. Pure apart from the clock; runs in a thread beside the serving loop."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aliquot.platform.vault import Vault
from aliquot.policy.administration.contracts import Answered, Flip
from aliquot.policy.contracts import Decision, Reason
from aliquot.policy.engine import Engine
from aliquot.policy.inputs import open_input

_FLIPS_SHOWN = 200
_COUNTED = frozenset({"allow", "confirm"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of it."""

    asked: int
    unreadable: int
    flips: tuple[Flip, ...]
    counts: dict[str, int]
    complete: bool
    took_ms: int


def replay(vault: Vault, rows: Sequence[Any], candidate: Engine, current: Engine, *, seconds: float) -> Replayed:
    """Ask `candidate` about each logged decision, newest first; stop after `seconds`."""
    started = time.monotonic()
    asked = unreadable = 0
    flips: list[Flip] = []
    counts: Counter[str] = Counter()
    complete = True
    for row in rows:
        if time.monotonic() - started > seconds:
            complete = False
            break
        query = None if row.input is None else open_input(vault, row.id, row.user_id, bytes(row.input))
        if query is None:
            unreadable += 1
            continue
        asked += 1
        after = candidate.evaluate(query)
        if not _differs(row, after):
            continue
        counts[f"{row.decision}→{after.decision}"] += 1
        if len(flips) < _FLIPS_SHOWN:
            also_now = _differs(row, current.evaluate(query))
            flips.append(
                Flip(decision_id=row.id, at=row.at, user_id=row.user_id, tool=row.tool, before=_logged(row), after=_given(after),
                     also_now=also_now)
            )  # fmt: skip
    took = round((time.monotonic() - started) * 1000)
    return Replayed(
        asked=asked, unreadable=unreadable, flips=tuple(flips), counts=dict(sorted(counts.items())), complete=complete, took_ms=took
    )


def _differs(row: Any, after: Decision) -> bool:
    """Whether something else would happen: another answer, or other obligations of one that lets it happen."""
    if row.decision != after.decision:
        return True
    return row.decision in _COUNTED and set(row.obligations) != set(after.obligations)


def _logged(row: Any) -> Answered:
    reasons = tuple(Reason(**reason) for reason in row.reasons)
    return Answered(decision=row.decision, obligations=tuple(row.obligations), risk=row.risk, band=None, reasons=reasons)


def _given(decision: Decision) -> Answered:
    return Answered(
        decision=decision.decision, obligations=decision.obligations, risk=decision.risk, band=decision.band, reasons=decision.reasons
    )
