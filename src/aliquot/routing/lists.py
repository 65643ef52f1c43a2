"""`are PCR-02 and SEQ-01 free?`: one question about several things of a kind is one call for each. Only for what reads."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from aliquot.routing import forms, lexicon
from aliquot.routing.contracts import CALLS_MAX, Route
from aliquot.routing.extraction import Reading
from aliquot.routing.vocabulary import JOINED, Mention, Vocabulary, are_listed

QUANTIFIERS = frozenset({"all", "any", "every", "none"})
_COMPARE = re.compile(r"compare (?:the two |both )?")
_AGAINST = re.compile(r" (?:with|to|against|versus|vs\.?) (?:the |that of |those of )?")
_LEFT = re.compile(r",? (?:and|plus|&) (?P<what>(?:the|our|my|a|an) [a-z]{3,}(?: [a-z]{3,})?)[?.!]*$")
_AFTER = re.compile(r"[,.?!]*(?: and| or|,)(?: (?:what|how) about)? (?:the |our )?$")
_TAIL = re.compile(r"(?: too| as well| also)?[?.!]*$")


def spread(route: Route, reading: Reading) -> Route:
    """`route` for the first thing named and further ones for the others; unchanged when not exactly one argument was listed.

    Those beyond CALLS_MAX are named in `explanation["over"]`.
    """
    if len(route.missing) != 1 or reading.codes:
        return route
    slot = route.missing[0]
    mentions = reading.of(slot)
    asked = reading.text[: mentions[0].start] + reading.text[mentions[-1].end :] if mentions else ""
    if not any(character.isalpha() for character in asked):
        return route  # nothing but names: it is not said what about them
    if any(len(mention.values) != 1 for mention in mentions) or not are_listed(mentions, reading.text):
        return route
    values = list(dict.fromkeys(mention.values[0] for mention in mentions))
    over = {"over": values[CALLS_MAX:]} if len(values) > CALLS_MAX else {}
    each = [replace(route, arguments={**route.arguments, slot: value}, missing=()) for value in values[:CALLS_MAX]]
    return replace(each[0], also=tuple(each[1:]), explanation=route.explanation | over)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing named; `slots` are what it is known as, none when nobody knows it."""

    start: int
    end: int
    slots: frozenset[str]


@dataclass(frozen=True, slots=True)
class Apart:
    """A question about several things without what is not here, and so that a tool for one thing can be asked for each."""

    text: str
    slots: frozenset[str]
    """What the known ones are."""
    unknown: tuple[str, ...] = ()
    """Codes beside them that nobody knows."""
    left: tuple[str, ...] = ()
    """Things beside them that are no codes: `and the microscope`."""
    compares: bool = False


def beside_known(codes: Sequence[Mention], mentions: Sequence[Mention], text: str) -> list[Mention]:
    """`codes`; one in a list with known values is what those are: HPLC-01 of `PCR-02 and HPLC-01` is meant as an instrument."""
    chains = _chains(_items(mentions, codes), text, JOINED)
    kinds = {item.start: slots for chain in chains if (slots := _common(chain)) for item in chain if not item.slots}
    return [replace(code, slot=min(kinds[code.start]), listed=True) if code.start in kinds else code for code in codes]


def apart(reading: Reading, vocabulary: Vocabulary) -> Apart | None:
    """`reading` as a question for each of the things it lists; None when it may be followed as it is."""
    odd = [m for m in reading.mentions if m.guessed or m.slot not in vocabulary.values]  # only of a sample's shape, say
    items = _items([m for m in reading.mentions if m not in odd], [*reading.codes, *odd])
    text = reading.text
    begin = _COMPARE.match(text, len(text) - len(forms.without_politeness(text)))
    joint = re.compile(f"{JOINED.pattern}|{_AGAINST.pattern}") if begin else JOINED
    chain = next((c for c in _chains(items, text, joint) if _common(c) and _is_several(c, compares=begin is not None)), None)
    if chain is None:
        return _moved(items, text) or _left_over(items, text)
    slots = _common(chain)
    if begin and not any(QUANTIFIERS & set(vocabulary.values.get(slot, ())) for slot in slots):
        return None  # only what can be looked at all together is shown side by side
    named = " and ".join(text[item.start : item.end] for item in chain if item.slots)
    plain = text[: chain[0].start] + named + text[chain[-1].end :]
    if begin:
        plain = plain[: begin.start()] + "show " + plain[begin.end() :]
    unknown = tuple(text[item.start : item.end].upper() for item in chain if not item.slots)
    return Apart(plain, slots, unknown, compares=begin is not None and len(chain) - len(unknown) > 1)


def _is_several(chain: Sequence[Item], *, compares: bool) -> bool:
    return any(not item.slots for item in chain) or (compares and len(chain) > 1)


def _items(mentions: Sequence[Mention], codes: Sequence[Mention]) -> list[Item]:
    places: dict[tuple[int, int], set[str]] = {}
    for mention in mentions:
        places.setdefault((mention.start, mention.end), set()).add(mention.slot)
    for code in codes:
        places.setdefault((code.start, code.end), set())
    return [Item(start, end, frozenset(slots)) for (start, end), slots in sorted(places.items())]


def _chains(items: Sequence[Item], text: str, joint: re.Pattern[str]) -> list[list[Item]]:
    """Runs of things with nothing but commas and little words between them."""
    chains = [[item] for item in items[:1]]
    for before, item in pairwise(items):
        if joint.fullmatch(text[before.end : item.start]):
            chains[-1].append(item)
        else:
            chains.append([item])
    return [chain for chain in chains if len(chain) > 1]


def _common(chain: Sequence[Item]) -> frozenset[str]:
    """What all the known ones of a list are."""
    known = [item.slots for item in chain if item.slots]
    return frozenset.intersection(*known) if known else frozenset()


def _moved(items: Sequence[Item], text: str) -> Apart | None:
    """`Is PCR-02 free, and HPLC-03?` as `is PCR-02 and HPLC-03 free`."""
    if len(items) != 2 or not items[0].slots or not _TAIL.fullmatch(text[items[1].end :]):
        return None
    first, last = items
    gap = text[first.end : last.start]
    match = _AFTER.search(gap)
    if match is None or (last.slots and not first.slots & last.slots):
        return None
    kept = f" and {text[last.start : last.end]}" if last.slots else ""
    plain = text[: first.end] + kept + gap[: match.start()]
    return Apart(plain, first.slots, () if last.slots else (text[last.start : last.end].upper(),))


def _left_over(items: Sequence[Item], text: str) -> Apart | None:
    """`status of PCR-02 and the microscope`: the question for what is known, and what it leaves."""
    match = _LEFT.search(text)
    if match is None or not items or items[-1].end != match.start() or not items[-1].slots:
        return None
    words = match.group("what").split()[1:]
    if any(word in lexicon.FUNCTION_WORDS or lexicon.class_of(word) not in {None, "machine"} for word in words):
        return None
    return Apart(text[: match.start()], items[-1].slots, left=(match.group("what"),))
