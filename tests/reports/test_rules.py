"""The list of rules and what it names: actions that the product records, facts that are found, words that may be said."""

import re
from pathlib import Path

import aliquot
from aliquot.reports.rules import CLAUSES, clauses
from tests.rule_matrix import Outcomes
from tools.rule_matrix import NOT_RUN, faults, marks, merged, rendered

SOURCES = Path(aliquot.__file__).parent
# Put together from parts where they are recorded: `f"{record.type}.purged"`, `f"run.{state}"`.
MADE_OF_PARTS = {"conversation.purged", "instrument_run.purged", "approval.purged", "run.cancelled"}


def test_every_action_and_fact_that_is_named_exists() -> None:
    """Fails when a section waits for an event nobody records: it would say for ever that there is no evidence."""
    source = "".join(path.read_text() for path in SOURCES.rglob("*.py") if path.parent.name != "reports" or path.name == "api.py")
    recorded = set(re.findall(r'"([a-z_]+\.[a-z_]+)"', source)) | MADE_OF_PARTS
    named = {action for clause in clauses() for action in clause.events}
    assert named - recorded == set()
    assert len({clause.id for clause in clauses()}) == len(clauses()) > 40
    for clause in clauses():
        assert clause.asks
        assert clause.supports
        assert clause.events or clause.facts


def test_no_word_promises_what_no_software_can() -> None:
    files = [CLAUSES, *(SOURCES / "reports").glob("*.py"), *(SOURCES / "reports").glob("*.typ")]
    text = " ".join(path.read_text() for path in files).lower()
    assert not re.findall(r"\b(compliant|certified|guarantees?|ensures?)\b", text)


def test_every_rule_has_a_test_and_every_mark_a_rule() -> None:
    assert faults() == []


class Report:
    """As pytest gives it."""

    def __init__(self, nodeid: str, outcome: str, when: str = "call", *, marked: bool = True) -> None:
        self.nodeid, self.when = nodeid, when
        self.passed, self.failed = outcome == "passed", outcome == "failed"
        self.user_properties = [("rule", "11.10(a)")] if marked else []


def test_a_failure_shows_as_failed_and_what_did_not_run_as_not_run() -> None:
    """Fails when one passing case hides a failing one, or silence passes for success."""
    first, second, third, *rest = marks()["11.10(a)"]
    outcomes = Outcomes()
    for report in (
        Report(f"{first}[a]", "failed"), Report(f"{first}[b]", "passed"), Report(second, "passed"), Report(second, "failed", "teardown"),
        Report(third, "skipped"), Report("tests/x.py::test_other", "failed", marked=False),
    ):  # fmt: skip
        outcomes.add(report)
    found = merged(outcomes._found)["11.10(a)"]
    assert [found[test] for test in (first, second, third)] == ["failed", "failed", NOT_RUN]
    assert {found[test] for test in rest} <= {NOT_RUN}
    document = outcomes.document({}, "abc")
    assert document["rules"]["11.10(j)"] == dict.fromkeys(marks()["11.10(j)"], NOT_RUN)
    assert "**failed**" in rendered(document)
    assert "0 passed, " in rendered(document)
    for commit, expected in (("abc", "failed"), ("abd", NOT_RUN), ("abc+", NOT_RUN)):
        later = Outcomes()
        later.add(Report(second, "passed"))
        told = later.document(document | {"commit": commit}, commit if commit.endswith("+") else "abc")["rules"]["11.10(a)"]
        assert (told[first], told[second]) == (expected, "passed"), commit
