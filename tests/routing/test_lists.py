"""Several things in one question: a call for each that is here, and what is not here is named as what it was meant for."""

from itertools import product
from typing import Any

import pytest

from aliquot.chat import unaided
from aliquot.routing.contracts import Route
from tests.routing.router_world import Asked, freezers, related


def calls(route: Route) -> list[dict[str, Any]]:
    return [one.arguments for one in (route, *route.also) if one.accepted]


@pytest.mark.parametrize(
    ("text", "units", "remark"),
    [
        ("how cold are FRZ-01 and FRZ-09?", ["FRZ-01"], "There is no unit FRZ-09 here."),
        ("How cold are XYZ-7, FRZ-02, BAR-88 and FRZ-01?", ["FRZ-02", "FRZ-01"], "There is no unit XYZ-7 or BAR-88 here."),
        ("temperature of COLD-07 and FRZ 3", ["COLD-07"], "There is no unit FRZ 3 here."),
        ("How cold is FRZ-01, and COLD-07?", ["FRZ-01", "COLD-07"], ""),
        ("How cold is FRZ-01? And FRZ-03?", ["FRZ-01"], "There is no unit FRZ-03 here."),
        ("How cold is FRZ-09 and how cold is FRZ-01?", ["FRZ-01"], "There is no unit FRZ-09 here."),
        ("how cold are both FRZ-01 and FRZ-01?", ["FRZ-01"], ""),
        ("how cold are FRZ-01 and the icebox?", ["FRZ-01"], "Not done: “the icebox”. Please ask for it on its own."),
        (
            "Compare the temperature of FRZ-01 with FRZ-02",
            ["FRZ-01", "FRZ-02"],
            "These are shown one after the other; nothing here compares them",
        ),
        ("compare the temperatures of FRZ-01 and FRZ-05", ["FRZ-01"], "There is no unit FRZ-05 here."),
    ],
)
async def test_each_thing_that_is_here_is_answered_and_the_others_are_named(ask: Asked, text: str, units: list[str], remark: str) -> None:
    route = await ask(text)
    assert calls(route) == [{"unit": unit} for unit in units]
    assert {one.tool for one in (route, *route.also)} == {"get_temperature"}
    assert unaided.remark(route).startswith(remark)
    assert bool(unaided.remark(route)) is bool(remark)


async def test_a_follow_up_may_name_several(ask: Asked) -> None:
    before = ("get_temperature", {"unit": "FRZ-01"})
    assert calls(await ask("and FRZ-02 and COLD-07?", before)) == [{"unit": "FRZ-02"}, {"unit": "COLD-07"}]


@pytest.mark.parametrize(
    "text",
    [
        "start defrosting FRZ-01 and FRZ-02 with SHELF-A1",
        "start defrosting FRZ-01 and FRZ-09 with SHELF-A1",
        "Compare FRZ-01 and FRZ-02 and start defrosting both with SHELF-A1",
        "abort D-0001 and D-0002 because it leaks",
        "Compare D-0001 and D-0002",
        "compare FRZ-01 with last week",
        "compare the last two deliveries",
        "How cold is XYZ-7 compared to FRZ-09?",
    ],
)
async def test_no_action_is_multiplied_and_no_comparison_is_made_up(ask: Asked, text: str) -> None:
    route = await ask(text)
    assert calls(route) == []
    assert route.also == ()


async def test_too_many_at_once_are_named() -> None:
    many = tuple(f"FRZ-0{n}" for n in range(1, 9))
    route = await related_with(many)(f"How cold are {', '.join(many)}?")
    assert calls(route) == [{"unit": unit} for unit in many[:5]]
    assert unaided.remark(route).startswith("Not shown: FRZ-06, FRZ-07 and FRZ-08. At most 5 are shown at once")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Start defrosting XYZ-7 with SHELF-A1", "There is no unit XYZ-7 here. Which unit do you mean?"),
        ("Start defrosting FRZ-01 and FRZ-09 with SHELF-A1", "There is no unit FRZ-09 here. Did you mean FRZ-01 or FRZ-02?"),
        ("How cold is FRZ 9?", "There is no unit FRZ 9 here."),
        ("abort the defrost on FRZ-09: it leaks", "There is no unit FRZ-09 here. Which job do you mean?"),
        ("abort D-77 because it leaks", "There is no job D-77 here."),
    ],
)
async def test_what_is_not_here_is_named_as_what_it_was_meant_for(text: str, said: str) -> None:
    route = await related({"FRZ-01": ("D-0001",)})(text)
    assert unaided.reply(text, route, ()).startswith(said)


async def test_nothing_that_is_here_is_ever_called_unknown() -> None:
    """Fails when a known name, in whatever place and beside whatever else, is said not to exist."""
    ask = related({"FRZ-01": ("D-0001",)})
    known = ("FRZ-01", "FRZ-02", "COLD-07", "basement freezer", "SHELF-A1", "D-0001")
    places = (
        "How cold is {}?", "how cold are {} and FRZ-09", "how cold are XYZ-7 and {}?", "Compare {} and XYZ-7", "start defrosting {}",
        "start defrosting FRZ-09 with {}", "start defrosting {} with XYZ-7", "abort {}: it leaks", "stop the defrost on {} and FRZ-09",
        "Which deliveries came to {} and {}?", "{} or FRZ-09?", "is {} free for XYZ-7", "XYZ-7, {}",
    )  # fmt: skip
    for place, name in product(places, known):
        text = place.replace("{}", name)
        route = await ask(text)
        said = unaided.remark(route) if route.accepted else unaided.reply(text, route, ())
        claims = [sentence for sentence in said.split(". ") if "There is no" in sentence and "at the moment" not in sentence]
        assert not any(name.lower() in claim.lower() for claim in claims), (text, said)


def related_with(units: tuple[str, ...]) -> Asked:
    """The same world with other freezers."""
    ask = related({})
    for tool in ask.tools:
        tool.words = {slot: units if slot == "unit" else words for slot, words in tool.words.items()}
    assert freezers()[0].words["unit"] != units
    return ask
