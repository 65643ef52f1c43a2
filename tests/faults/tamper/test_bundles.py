"""Every class of tampering with a log's export is detected and located, by both verifiers alike; honest logs raise no alarm."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.faults.tamper.classes import CLASSES, HONEST, Case
from tests.faults.tamper.judging import ROOT, by_javascript, by_python, laid_out
from tests.faults.tamper.table import rendered
from tests.faults.tamper.world import World

VECTORS = ROOT / "tests" / "verify" / "vectors"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("tamper")
    made = {known.name: known.build() for known in CLASSES} | {name: build() for name, build in HONEST.items()}
    return {name: laid_out(case, name, folder) for name, case in made.items()}


def test_there_are_enough_classes_and_each_once() -> None:
    assert len({known.name for known in CLASSES}) == len(CLASSES) >= 30


@pytest.mark.parametrize("known", CLASSES, ids=lambda known: known.name)
@pytest.mark.rule("11.10(a)", "HIPAA 164.312(c)")
def test_each_class_is_detected_and_located(cases: dict[str, dict[str, Any]], known: Any) -> None:
    case = cases[known.name]
    judged = by_python(Path(case["bundle"]), case)
    found = {(fault, seq) for fault, seq, _ in judged["findings"] + judged["notices"]}
    assert found == set(known.expected)
    assert judged["exit_code"] >= 10
    if known.needs:  # without what it needs, this class would pass: the table does not exaggerate
        alone = by_python(Path(case["bundle"]), case | {"anchor": None, "witnesses": [], "vkey": None})
        assert alone["ok"] or known.name in ALSO_ALONE


# The bundle itself gives them away, as long as the contradicting anchor is left in it; a careful forger would take it out.
ALSO_ALONE = (
    "rewritten_log_with_old_cosignatures",
    "cut_log_with_old_cosignatures",
    "cosignature_of_another_log",
    "rewritten_log_with_old_time_stamps",
)


@pytest.mark.parametrize("name", sorted(HONEST))
@pytest.mark.rule("11.10(a)")
def test_an_honest_log_raises_no_alarm(cases: dict[str, dict[str, Any]], name: str) -> None:
    judged = by_python(Path(cases[name]["bundle"]), cases[name])
    assert (judged["ok"], judged["findings"], judged["notices"]) == (True, [], [])


def test_the_verifier_in_javascript_agrees_on_every_case(cases: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    judged = by_javascript(list(cases.values()), tmp_path)
    for (name, case), answer in zip(cases.items(), judged, strict=True):
        assert (name, answer) == (name, by_python(Path(case["bundle"]), case))


def test_both_verifiers_agree_on_random_damage(tmp_path: Path) -> None:
    """A byte of a file, packed and signed anew, or a bit of the archive: the same verdict and places, whatever it does."""
    dice, cases = random.Random(7), []
    for number in range(160):
        build = dice.choice([*HONEST.values()])
        case = build()
        name, bundle = f"c{number}", case.bundle
        if number % 2:
            raw = bytearray(case.zip())
            raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
            case = Case(bytes(raw), vkey=case.vkey, anchor=case.anchor, witnesses=case.witnesses)
        elif isinstance(bundle, World):
            file = dice.choice([n for n, data in sorted(bundle.files.items()) if data])
            content = bytearray(bundle.files[file])
            content[dice.randrange(len(content))] = dice.choice(b'"{}[],:0129aA\n \x00\x7f\x80\xff')
            bundle.files[file] = bytes(content)
            if number % 4 and file != "manifest.json":
                bundle.seal()
        cases.append(laid_out(case, name, tmp_path))
    for case, answer in zip(cases, by_javascript(cases, tmp_path), strict=True):
        wanted = by_python(Path(case["bundle"]), case)
        assert (case["bundle"], answer) == (case["bundle"], wanted)


@pytest.mark.rule("Annex 11 s.17", "ALCOA enduring")
def test_both_verifiers_agree_with_the_published_vectors(tmp_path: Path) -> None:
    published = json.loads((VECTORS / "expected.json").read_text())
    assert {known.name for known in CLASSES} | set(HONEST) == set(published)
    given = [
        v["given"] | {"bundle": str(VECTORS / f"{n}.zip"), "anchor": str(VECTORS / f"{n}.anchor") if v["given"]["anchor"] else None}
        for n, v in published.items()
    ]
    wanted = [v["expected"] for v in published.values()]
    assert [by_python(Path(case["bundle"]), case) for case in given] == wanted
    assert by_javascript(given, tmp_path) == wanted


def test_the_published_table_is_this_one() -> None:
    """`python -m tests.faults.tamper.table` writes the table and the vectors anew."""
    assert (ROOT / "docs" / "tamper.md").read_text() == rendered()
