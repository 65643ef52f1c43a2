"""Names, addresses and reasons are what they look like."""

import pytest

from aliquot.kernel.visible import plain_line, plain_text

HONEST = [
    "Ada Lovelace", "José Núñez", "O\u2019Neill, Jean-Luc", "Đặng Thị Hà", "Zoë Ångström (QA)", "李小龍", "山田 エミ", "Владимир Ильин",
    "Ανδρέας", "محمد علی", "नेहा शर्मा", "Ada Ильина", "김철수", "R2-D2 μ", "ada.lovelace+qa@demo.lab",
]  # fmt: skip
SPOOFED = {
    "right-to-left override": "Ada\u202eecalevoL",
    "zero width space": "Ada\u200bLovelace",
    "joiner": "Ada\u034f Lovelace",
    "soft hyphen": "Ada Love\u00adlace",
    "hangul filler": "\u3164",
    "half width filler": "Ada\uffa0Lovelace",
    "empty braille": "Ada\u2800Lovelace",
    "variation selector": "Ada\ufe0f Lovelace",
    "tag": "Ada\U000e0041",
    "supplementary selector": "Ada\U000e0100",
    "line": "Ada\nLovelace",
    "private use": "Ada \ue000",
    "cyrillic a": "\u0410da Lovelace",
    "greek omicron": "L\u03bfvelace",
    "cherokee": "\u13aada",
    "mathematical": "\U0001d400da",
    "full width": "\uff21da",
    "marks without end": "A" + "\u0301" * 9 + "da",
    "address": "\u0430dmin@demo.lab",
}


@pytest.mark.parametrize("text", HONEST)
def test_names_of_all_the_world_are_plain(text: str) -> None:
    assert plain_line(text)


@pytest.mark.parametrize("text", SPOOFED.values(), ids=SPOOFED)
def test_what_cannot_be_seen_or_looks_like_another_is_not(text: str) -> None:
    assert not plain_line(text)


def test_reasons_may_have_lines_and_joiners_but_turn_nothing() -> None:
    assert plain_text("Wrong lot.\r\n\tSee 4.2 \u2013 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 👩\u200d🔬")
    for turned in ("approve \u202egnihton", "a\u2066b", "a\u200fb", "a\x1b[2Jb", "a\x00b", "a\rb", "a\u2028b", "a\x85b"):
        assert not plain_text(turned), ascii(turned)
