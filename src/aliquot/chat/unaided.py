"""What Aliquot says without a language model when a question did not lead to a call: what is missing, what can be asked. Pure."""

import re
from collections.abc import Sequence

from aliquot.routing.contracts import CALLS_MAX, Route

_SHOWN_MAX = 12
_THANKS = re.compile(
    r"(?:ok(?:ay)?,? |great,? )?(?:thanks?(?: you)?|thx|cheers)(?: (?:a lot|so much|very much|again))?[.! ]*", re.IGNORECASE
)
_HELLO = re.compile(r"(?:hi|hello|hey|good (?:morning|afternoon|evening|day))(?: there| aliquot| again)?[.!, ]*", re.IGNORECASE)
_HELP = re.compile(r"(?:help(?: me)?|what can (?:you do|i ask(?: you)?)|what do you know|can you help(?: me)?)[?.! ]*", re.IGNORECASE)
_REASONS = frozenset({"reason", "justification", "comment", "note", "why"})


def reply(question: str, route: Route, suggestions: Sequence[str], *, hidden_by: str | None = None) -> str:
    """The answer to a question that was not followed. Nothing is invented, and what was named is named.

    `hidden_by` is the dashboard that leaves out what was asked for, when nothing else forbids it.
    """
    if route.withdrawn:
        return "All right, nothing was done."
    if hidden_by is not None:
        return f"The dashboard “{hidden_by}” does not offer this: {_words(route.tool or '')}. Nothing was done; ask outside of it."
    if route.asks:
        return asked_back(route) if route.permitted else not_permitted(route)
    if route.unanswered:
        wishes = "\n".join(f"- {part}" for part in route.unanswered)
        return (
            "These are several steps of which more than one acts. I make a plan of them when every step is clear; these are not yet:\n\n"
            f"{wishes}\n\nNothing was done. Please say all of it again, each step with everything it needs{_needed(route)}."
        )
    examples = "\n".join(f"- {sentence}" for sentence in suggestions)
    if _THANKS.fullmatch(question.strip()):
        return "You are welcome."
    greeted = "Hello." if _HELLO.fullmatch(question.strip()) else ""
    begin = greeted if greeted or _HELP.fullmatch(question.strip()) else "I am not sure what you mean, so I did not guess."
    return (
        begin
        + (f"{' ' if begin else ''}You can ask, for example:\n\n{examples}" if examples else "")
        + "\n\nFor free conversation an administrator can add a language model: `aliquot models pull`, or see `docs/models.md`."
    )


def asked_back(route: Route) -> str:
    """A question for the first thing that is missing, with what it may be."""
    slot = route.missing[0]
    noun, wish = _words(route.explanation.get("noun", slot)), _wish(route)
    if slot in _REASONS:
        return f"What is the reason for “{wish}”? Your next message is taken as it; then you are asked to confirm."
    unknown, near = route.explanation.get("unknown", []), route.explanation.get("near", [])
    known = list(route.explanation.get("candidates", {}).get(slot, ()))[:_SHOWN_MAX]
    if (named := route.explanation.get("empty", {}).get(slot)) is not None:
        return f"There is no {noun} for {named} at the moment. Nothing was done."
    begin = f"{_no(route.explanation.get('kind', noun), unknown[:1])} " if unknown else ""
    ask = f"Did you mean {' or '.join(near)}?" if near else f"Which {noun} do you mean?"
    if slot == "instrument" and set(known) <= {"all"} and not near:
        return "No instruments are registered here yet. `aliquot serve --demo` seeds an invented laboratory with simulated ones."
    if not known:
        return f"{begin}{ask} I know of none that fits."
    if len(known) == 1:
        return f"{begin}{ask} The only one that fits is {known[0]}; answer `yes` to choose it."
    options = "\n".join(f"{number}. {name}" for number, name in enumerate(known, 1))
    return f"{begin}{ask} Answer with its name or number:\n\n{options}"


def not_permitted(route: Route) -> str:
    return f"Your role may not do this: {_words(route.tool or '')}. Nothing was done."


def remark(route: Route) -> str:
    """What of the question was not done, to be said under the answer to the rest; empty when it was all of it."""
    left = [part for one in (route, *route.also) for part in one.unanswered]
    lines = [f"Not done: “{part}”. Please ask for it on its own." for part in left]
    lines += [line for one in (route, *route.also) for line in _of_a_list(one)]
    for one in route.also:
        if one.asks and (unknown := one.explanation.get("unknown")):
            lines.append(_no(one.explanation["kind"], unknown[:1]))
        elif one.asks:
            wanted = " and ".join(_words(slot) for slot in one.missing)
            lines.append(f"Not done: {_words(one.tool or '')}. It needs the {wanted} as well; please ask for it on its own, with that.")
    return "\n\n".join(lines)


def _of_a_list(route: Route) -> list[str]:
    """What was named in a list of things and is not here, or not shown."""
    told = route.explanation
    lines = [_no(told["kind"], told["strangers"])] if told.get("strangers") else []
    if over := told.get("over"):
        lines.append(f"Not shown: {_listed(over, 'and')}. At most {CALLS_MAX} are shown at once; please ask for the others on their own.")
    if told.get("compares"):
        lines.append("These are shown one after the other; nothing here compares them without a language model.")
    return lines


def _no(kind: str, unknown: Sequence[str]) -> str:
    return f"There is no {_words(kind)} {_listed(unknown, 'or')} here."


def _listed(names: Sequence[str], word: str) -> str:
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _needed(route: Route) -> str:
    tool, *slots = route.explanation.get("missing") or [""]
    return f" ({_words(tool)} needs the {' and the '.join(_words(slot) for slot in slots)})" if slots else ""


def _wish(route: Route) -> str:
    """What is asked for, as far as it is known: `stop run R-2026-0012`."""
    return " ".join([_words(route.tool or ""), *(value for value in route.arguments.values() if isinstance(value, str))])


def _words(name: str) -> str:
    return name.replace("_", " ")
