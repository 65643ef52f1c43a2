"""Plans of several steps, as a person at the terminal handles them."""

from typing import Any

from aliquot.cli.chat.connection import Connection
from aliquot.cli.chat.neutral import one_line
from aliquot.cli.chat.person import Person
from aliquot.cli.chat.screen import Screen, local_time

PLAN = "plan"
"""What a request about a whole plan has in the place of a tool's name."""
_OPEN = ("waiting", "running", "paused", "failed")


class Plans:
    """Lists, stops and resumes. Decisions are `approvals`'."""

    def __init__(self, connection: Connection, person: Person, screen: Screen) -> None:
        self._connection, self._person, self._screen = connection, person, screen
        self._listed: list[dict[str, Any]] = []

    def waiting_for(self, approval_id: str) -> dict[str, Any] | None:
        """The plan that waits for this request."""
        return next((plan for plan in self._get("waiting") if (plan.get("approval") or {}).get("id") == approval_id), None)

    def show(self) -> None:
        """Those that are not over, with how far they came."""
        self._listed = [plan for state in _OPEN for plan in self._get(state)]
        if not self._listed:
            self._screen.line("No plan is under way.")
        for number, plan in enumerate(self._listed, 1):
            why = f" ({one_line(plan['reason'])})" if plan.get("reason") else ""
            self._screen.line(f"{number}  {one_line(plan.get('state'))}{why}, of {local_time(plan.get('created_at'), zone=True)}")
            for step in plan.get("steps") or []:
                self._screen.line(f"     {step.get('n')}. {_what(step)}: {one_line(step.get('state'))}")

    def stop(self, which: str) -> None:
        """No further step begins. Raises Refused."""
        if (plan := self._chosen(which)) is not None:
            changed = self._connection.post(f"/api/plans/{plan['id']}/stop").get("plan") or {}
            under_way = "The step under way comes to its end; no other begins." if changed.get("stopping") else "The plan is stopped."
            self._screen.line(under_way)

    def resume(self, which: str) -> str | None:
        """The run that goes on with it. Raises Refused."""
        plan = self._chosen(which)
        if plan is None:
            return None
        body: dict[str, Any] = {}
        unknown = next((step for step in plan.get("steps") or [] if step.get("state") == "unknown"), None)
        if unknown is not None:
            self._screen.line(f"It is not known whether this took effect: {_what(unknown)}. Look before you answer.")
            found = self._person.choose("Did it take effect?")
            if found is None:
                self._screen.line("Nothing was said, so the plan stays as it is.")
                return None
            body["took_effect"] = found == "yes"
        run_id = self._connection.post(f"/api/plans/{plan['id']}/resume", body).get("run_id")
        return None if run_id is None else str(run_id)

    def _chosen(self, which: str) -> dict[str, Any] | None:
        if not which.isdecimal() or not 1 <= int(which) <= len(self._listed):
            self._screen.failure("Say which: /plans lists them, then for example /stop 1.")
            return None
        return self._listed[int(which) - 1]

    def _get(self, state: str) -> list[dict[str, Any]]:
        items = self._connection.get("/api/plans", state=state, limit=50).get("items")
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _what(step: dict[str, Any]) -> str:
    preview = step.get("preview")
    return one_line(step.get("outcome") or (preview.get("summary") if isinstance(preview, dict) else None) or step.get("tool") or "", 200)
