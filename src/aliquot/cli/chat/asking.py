"""One conversation: asking, watching, deciding, until nothing goes on."""

import uuid
from dataclasses import dataclass, field
from typing import Any

from aliquot.cli.chat.approvals import Approvals
from aliquot.cli.chat.connection import Connection
from aliquot.cli.chat.failures import ANSWERED, FAILED, WAITING, Failure, Refused, Unreachable
from aliquot.cli.chat.following import Following
from aliquot.cli.chat.interrupts import Interrupts
from aliquot.cli.chat.screen import Screen
from aliquot.cli.chat.store import ServerFile
from aliquot.cli.chat.transcript import Transcript

_CONTINUATIONS_MAX = 20
"""Decisions in a row within one question."""


@dataclass(slots=True)
class Outcome:
    """What became of a question: its run and the runs that went on after decisions."""

    runs: list[Transcript] = field(default_factory=list)
    approval: dict[str, Any] | None = None
    """The request the last run waits for."""

    @property
    def exit_code(self) -> int:
        state = self.runs[-1].state if self.runs else None
        if state == "waiting_approval":
            return WAITING
        return ANSWERED if state == "done" else FAILED

    def document(self) -> dict[str, Any]:
        """The object of `--json`."""
        last = self.runs[-1] if self.runs else Transcript()
        return {
            "answer": last.answer, "state": last.state, "run_id": last.run_id or None, "conversation_id": last.conversation_id or None,
            "message_id": last.message_id or None, "runs": [run.run_id for run in self.runs],
            "tool_calls": [call.document() for run in self.runs for call in run.calls.values()],
            "citations": [citation for run in self.runs for citation in run.citations],
            "notices": [notice for run in self.runs for notice in run.notices],
            "usage": last.usage, "approval": self.approval, "error": last.error,
        }  # fmt: skip


class Conversation:
    """Under a client id of ours, so that it can be continued later."""

    def __init__(
        self, connection: Connection, memory: ServerFile, screen: Screen, approvals: Approvals, *, continued: bool, model: str | None = None
    ) -> None:
        self._connection, self._memory, self._screen, self._approvals = connection, memory, screen, approvals
        self._model = model
        remembered = memory.load()
        self.client_id = (remembered.conversation if continued else None) or f"cli_{uuid.uuid4().hex}"
        self.last_run = remembered.run_id if continued else None
        self.open_approval: str | None = None

    def new(self) -> None:
        """The next question opens another conversation."""
        self.client_id, self.last_run, self.open_approval = f"cli_{uuid.uuid4().hex}", None, None

    def ask(self, text: str) -> Outcome:
        """Ask and watch. Raises Failure when the question did not arrive or its answer cannot be watched."""
        body = {"content": text} | ({} if self._model is None else {"model": self._model})
        started = self._connection.post(f"/api/conversations/{self.client_id}/messages", body)
        if not isinstance(started.get("run_id"), str):
            raise Unreachable(f"What answers at {self._connection.url} is not an Aliquot server.")
        return self.follow(started["run_id"])

    def take_up(self) -> Outcome | None:
        """Go on with the run that was left before its end; None when there is none."""
        if self.last_run is None:
            return None
        try:
            state = self._connection.get(f"/api/runs/{self.last_run}").get("state")
        except Refused as refusal:
            if refusal.status != 404:
                raise
            return None  # of another person, or gone
        return self.follow(self.last_run) if state in ("queued", "running", "waiting_approval") else None

    def follow(self, run_id: str) -> Outcome:
        """Watch `run_id`, decide what it asks for, watch what goes on."""
        outcome = Outcome()
        try:
            self._follow(run_id, outcome)
        except Failure as failure:
            failure.outcome = outcome
            raise
        return outcome

    def watch_if_mine(self, run_id: str) -> bool:
        """Follow a run that a decision started; False when it is another person's."""
        try:
            self._connection.get(f"/api/runs/{run_id}")
        except Refused as refusal:
            if refusal.status != 404:
                raise
            return False
        self.follow(run_id)
        return True

    def _follow(self, run_id: str, outcome: Outcome) -> None:
        self.open_approval = None
        following: str | None = run_id
        while following is not None and len(outcome.runs) <= _CONTINUATIONS_MAX:
            self.last_run = following
            self._memory.update(conversation=self.client_id, run_id=following)
            run = Transcript(run_id=following)
            outcome.runs.append(run)
            self._watch(run)
            outcome.approval, following = None, None
            if run.approval is not None and run.state == "waiting_approval":
                approval_id = str(run.approval["approval_id"])
                self.open_approval = approval_id
                outcome.approval, following = self._approvals.settle(approval_id)
                if outcome.approval.get("state") != "pending":
                    self.open_approval = None

    def cancel(self) -> str:
        """Cancel the last run, or withdraw what waits for a decision; a sentence about it."""
        if self.open_approval is not None:
            self._approvals.withdraw(self.open_approval)
            self.open_approval = None
            return "The request is withdrawn; nothing will be done."
        if self.last_run is not None:
            try:
                self._connection.post(f"/api/runs/{self.last_run}/cancel")
            except Refused as refusal:
                if refusal.status not in (404, 409):
                    raise
            else:
                return "Cancelled."
        return "There is nothing to cancel."

    def messages(self) -> list[dict[str, Any]]:
        """The last messages, oldest first."""
        try:
            items = self._connection.get(f"/api/conversations/{self.client_id}/messages", limit=50).get("items")
        except Refused as refusal:
            if refusal.status == 404:
                return []
            raise
        return [item for item in reversed(items) if isinstance(item, dict)] if isinstance(items, list) else []

    def _watch(self, transcript: Transcript) -> None:
        with Interrupts() as interrupts:
            self._screen.begin()
            try:
                for event in Following(self._connection, transcript.run_id, interrupts).events():
                    if transcript.apply(event):
                        self._screen.show(event, transcript)
            finally:
                self._screen.end()
