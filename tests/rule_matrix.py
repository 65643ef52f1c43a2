"""Hooks of pytest that write `build/rule-matrix.json`: for every test marked with a rule what became of it in this run.

A further run at the same commit adds to what is there; at another commit, or with changed files, all begins anew.
Under xdist the workers send a test's rules with its report; the controller writes the file. What did not run is `not run`.
"""

import gc
import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest

import aliquot
from tools.rule_matrix import NOT_RUN, ROOT, RUN, merged

_RULE, _CHANGED = "rule", "+"


class Outcomes:
    """Of each marked test function: failed if any case or phase of it failed, passed if one passed, otherwise it did not run."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def add(self, report: Any) -> None:
        if not any(name == _RULE for name, _ in report.user_properties):
            return
        test = report.nodeid.partition("[")[0]
        if report.failed:
            self._found[test] = "failed"
        elif report.when == "call" and self._found.get(test) != "failed":
            self._found[test] = "passed" if report.passed else self._found.get(test, NOT_RUN)

    def document(self, before: dict[str, Any], commit: str) -> dict[str, Any]:
        """`before` is what the file holds."""
        if before.get("commit") == commit and not commit.endswith(_CHANGED):
            kept = {test: outcome for tests in before["rules"].values() for test, outcome in tests.items() if outcome != NOT_RUN}
            self._found = kept | self._found
        return {
            "version": aliquot.__version__, "commit": commit, "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "rules": merged(self._found),
        }  # fmt: skip


_outcomes = Outcomes()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rule(*ids): the rules of reports/clauses.toml that this test exercises")


def pytest_itemcollected(item: pytest.Item) -> None:
    for mark in item.iter_markers(_RULE):
        item.user_properties += [(_RULE, rule) for rule in mark.args]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _outcomes.add(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput") and not session.config.option.collectonly:
        gc.disable()  # a finalizer that parses while a test's source is parsed breaks ast.parse (CPython gh-106905); the run is over
        RUN.parent.mkdir(exist_ok=True)
        before = json.loads(RUN.read_text("utf-8")) if RUN.exists() else {}
        RUN.write_text(json.dumps(_outcomes.document(before, _commit()), indent=1) + "\n", "utf-8")


def _commit() -> str:
    """The commit that was tested, with `+` when files differed from it."""
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + _CHANGED if changed else head
