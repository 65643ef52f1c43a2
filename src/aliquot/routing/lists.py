"""`are PCR-02 and SEQ-01 free?`: one question about several things of a kind is one call for each. Only for what reads."""

from dataclasses import replace

from aliquot.routing.contracts import Route
from aliquot.routing.extraction import Extracted, Reading
from aliquot.routing.vocabulary import are_listed

CALLS_MAX = 4


def spread(route: Route, found: Extracted, reading: Reading) -> Route:
    """`route` for the first thing named and further ones for the others; unchanged when not exactly one argument was listed."""
    if len(route.missing) != 1 or reading.codes:
        return route
    slot = route.missing[0]
    mentions = reading.of(slot)
    values = [mention.values[0] for mention in mentions if len(mention.values) == 1]
    asked = reading.text[: mentions[0].start] + reading.text[mentions[-1].end :] if mentions else ""
    if not any(character.isalpha() for character in asked):
        return route  # nothing but names: it is not said what about them
    if not 2 <= len(values) <= CALLS_MAX or len(set(values)) != len(mentions) or slot in found.arguments:
        return route
    if not are_listed(mentions, reading.text):
        return route
    each = [replace(route, arguments={slot: value, **found.arguments}, missing=()) for value in values]
    return replace(each[0], also=tuple(each[1:]))
