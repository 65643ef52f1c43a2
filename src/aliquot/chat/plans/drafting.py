"""From the calls that were asked for to the steps of a plan: each looked at by itself, and what depends on what."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aliquot.kernel.problems import Problem
from aliquot.platform.db import Transaction
from aliquot.policy.contracts import PlannedCall, Preview
from aliquot.tools.api import ToolsApi
from aliquot.tools.contracts import Draft, ToolContext
from aliquot.tools.errors import ToolDenied


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A call somebody asked for, as a model or the router wrote it."""

    tool: str
    arguments: str
    context: ToolContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """Steps, or why there are none: every wish has to be one."""

    calls: tuple[tuple[PlannedCall, str | None], ...]
    """Each with the reason why its preview has to wait, if it has to."""
    refusals: dict[int, Problem]
    """By place."""


async def draft(tx: Transaction, tools: ToolsApi, wishes: Sequence[Wish], *, only: Collection[str] | None, tainted: bool) -> Drafted:
    """Look at every wish; nothing is decided, logged or changed."""
    calls: list[tuple[PlannedCall, str | None]] = []
    refusals: dict[int, Problem] = {}
    for n, wish in enumerate(wishes):
        try:
            found = await tools.draft(tx, wish.context, wish.tool, wish.arguments, only=only, tainted=tainted)
        except Problem as problem:
            refusals[n] = problem
            continue
        after = tuple(at for at, (earlier, _) in enumerate(calls) if _rests_on(found) & set(earlier.touches))
        if found.decision.decision == "deny":
            refusals[n] = ToolDenied(f"{ToolDenied.sentence} {' '.join(reason.text for reason in found.decision.reasons)}")
        elif found.refusal is not None and not (found.refusal.gives_way and after and len(calls) == n):
            refusals[n] = found.refusal
        deferred = None if found.refusal is None else found.refusal.detail
        calls.append((_planned(found, after), deferred))
    return Drafted(calls=tuple(calls), refusals=refusals)


def _planned(found: Draft, after: tuple[int, ...]) -> PlannedCall:
    touches = _changed(found.preview) if found.preview is not None else _about(found)
    acting = found.tool.effect != "read"
    return PlannedCall(
        tool=found.tool, arguments=found.arguments, decision=found.decision, preview=found.preview, after=after,
        touches=tuple(sorted(touches)) if acting else (), versions=found.versions, unnamed=found.unnamed,
    )  # fmt: skip


def _rests_on(found: Draft) -> set[str]:
    known = set() if found.preview is None else _changed(found.preview) | set(found.preview.resource_versions)
    return known | _about(found)


def _changed(preview: Preview) -> set[str]:
    """Records that exist: what is made anew (`instrument_run:new`) is nobody's before."""
    return {str(change["record"]) for change in preview.changes if "record" in change and not str(change["record"]).endswith(":new")}


def _about(found: Draft) -> set[str]:
    """What the tool's facts say it is about, also where a preview is not possible yet."""
    instrument = found.facts.get("instrument")
    return {f"instrument:{instrument}"} if instrument else set()
