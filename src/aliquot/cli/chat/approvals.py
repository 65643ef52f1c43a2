"""Decisions about what asked for confirmation."""

import json
from typing import Any, Literal

from aliquot.cli.chat.connection import Connection
from aliquot.cli.chat.failures import Refused, Unreachable
from aliquot.cli.chat.neutral import one_line
from aliquot.cli.chat.person import Choice, Person
from aliquot.cli.chat.plans import PLAN, Plans
from aliquot.cli.chat.screen import Screen, obligations

Stance = Literal["ask", "approve", "leave"]
"""Ask the person · confirm what the person may confirm (`--yes`) · decide nothing."""

_OTHERS = frozenset({"sign", "two_person"})
_STATES = {
    "rejected": "It was rejected.",
    "withdrawn": "It was withdrawn.",
    "expired": "The request has expired; nothing was done. Please ask again.",
    "unknown": "It is not known whether it happened; somebody has to look.",
}


class Approvals:
    """Shows a request and decides it with the person."""

    def __init__(self, connection: Connection, person: Person, screen: Screen, *, stance: Stance, reason: str | None = None) -> None:
        self._connection, self._person, self._screen = connection, person, screen
        self._stance, self._reason = stance, reason
        self.plans = Plans(connection, person, screen)

    def settle(self, approval_id: str) -> tuple[dict[str, Any], str | None]:
        """Show the request `approval_id` and decide it; the request as it then is, and the run that goes on with it, if any."""
        approval = self.get(approval_id)
        if approval.get("state") != "pending":
            return self._already(approval)
        self._screen.approval(approval)
        if approval.get("may_decide") is not True:
            self._screen.note(self._who(approval))
            return approval, None
        return self._decide(approval)

    def get(self, approval_id: str) -> dict[str, Any]:
        return self._connection.get(f"/api/approvals/{approval_id}")

    def open_ones(self) -> list[dict[str, Any]]:
        """Pending requests: mine, and those I may decide."""
        items = self._connection.get("/api/approvals", state="pending", limit=50).get("items")
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []

    def withdraw(self, approval_id: str) -> None:
        self._connection.post(f"/api/approvals/{approval_id}/withdraw")

    def _decide(self, approval: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
        needed = obligations(approval)
        if self._stance == "leave" or (self._stance == "approve" and _OTHERS & needed):
            self._screen.note("It waits: decide it with `aliquot chat --continue`, or /approvals in `aliquot chat`.")
            return approval, None
        if self._stance == "approve":
            return self._send(approval, {"decision": "approve", "reason": self._reason})
        also = self._also(approval, needed)
        choice = self._person.choose("Do this?", also=also)
        if choice == "steps":
            return self._step_by_step(approval)
        if choice is None:
            self._screen.note("Nothing was decided; it waits until it expires: /approvals, then /decide N, in `aliquot chat`.")
            return approval, None
        if choice == "edit":
            return self._edit(approval)
        yes = choice == "yes"
        body: dict[str, Any] = {
            "decision": "approve" if yes else "reject",
            "reason": self._ask_reason(required="reason_required" in needed),
        }
        if yes and "sign" in needed:
            self._screen.note("Your signature means that you approve this; it is bound to what you see above.")
            body["signature"] = {"meaning": "approval", "password": self._person.secret("Password: ") or ""}
        return self._send(approval, body)

    def _also(self, approval: dict[str, Any], needed: frozenset[str]) -> Choice | None:
        """What else may be chosen, and a word about it. What I may decide and needs nobody else is my own request."""
        if _OTHERS & needed:
            return None
        if approval.get("tool") == PLAN:
            self._screen.note("(y approves all steps as shown; s decides them step by step)")
            return "steps"
        if str(approval.get("call_id", "")).startswith("plan_"):  # a step of a plan is decided as it is
            return None
        self._screen.note("(e changes the arguments first)")
        return "edit"

    def _step_by_step(self, approval: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
        """Take back the request for the whole plan; the run that asks for the first step goes on."""
        plan = self.plans.waiting_for(str(approval["id"]))
        if plan is None:
            return self._already(self.get(str(approval["id"])))
        try:
            changed = self._connection.post(f"/api/plans/{plan['id']}/decision", {"decision": "step_by_step"})
        except Refused as refusal:
            self._screen.failure(str(refusal))
            return self.get(str(approval["id"])), None
        run_id = changed.get("run_id")
        return self.get(str(approval["id"])), None if run_id is None else str(run_id)

    def _edit(self, approval: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
        """Ask for the same with other arguments: a new request, shown and decided like any other."""
        arguments = dict(approval.get("arguments") or {})
        while line := (self._person.ask("Change (name=value, an empty line ends): ") or "").strip():
            name, equals, value = line.partition("=")
            if not equals:
                self._screen.failure("Write name=value; a value is text or JSON, and nothing after the = leaves the argument out.")
            elif value.strip():
                arguments[name.strip()] = _value(value.strip())
            else:
                arguments.pop(name.strip(), None)
        if arguments == approval.get("arguments"):
            self._screen.note("Nothing was changed.")
            return self.settle(str(approval["id"]))
        try:
            made = self._connection.post(f"/api/approvals/{approval['id']}/edit", {"arguments": arguments})
        except Refused as refusal:
            self._screen.failure(str(refusal))
            return self.settle(str(approval["id"]))
        return self.settle(str(made["id"]))

    def _ask_reason(self, *, required: bool) -> str | None:
        if self._reason is not None:
            return self._reason
        while True:
            reason = self._person.ask("Reason: " if required else "Reason (optional): ")
            if reason is None or reason.strip() or not required:
                return (reason or "").strip() or None

    def _send(self, approval: dict[str, Any], body: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
        body = {name: value for name, value in body.items() if value is not None}
        try:
            decided = self._connection.post(f"/api/approvals/{approval['id']}/decision", body)
        except Refused as refusal:
            if refusal.cause == "components_required" and "signature" in body and "otp" not in body["signature"]:
                code = self._person.secret("One-time password of your authenticator app: ")
                return self._send(approval, body | {"signature": body["signature"] | {"otp": code or ""}})
            if refusal.code != "already_decided":
                self._screen.failure(str(refusal))
                return self.get(str(approval["id"])), None
            return self._already(self.get(str(approval["id"])))  # also: the answer to our own decision was lost on the way
        except Unreachable as failure:
            raise Unreachable(
                f"{failure} Whether your decision arrived is not known: if it did, it counts once. "
                "When the server is back, `aliquot chat --continue` shows how it stands."
            ) from failure
        run_id = decided.get("run_id")
        after = decided.get("approval")
        return after if isinstance(after, dict) else approval, str(run_id) if run_id else None

    def _already(self, approval: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
        run_id = approval.get("next_run_id")
        if run_id is None:
            state = str(approval.get("state"))
            self._screen.note(_STATES.get(state, f"The request is {one_line(state)}."))
        return approval, None if run_id is None else str(run_id)

    def _who(self, approval: dict[str, Any]) -> str:
        needed = obligations(approval)
        how = f"They see it with /approvals in `aliquot chat --url {self._connection.url}`."
        if "sign" in needed:
            return f"You cannot decide this: somebody else who may sign has to. {how}"
        if "two_person" in needed:
            return f"You cannot decide this: a second person who may decide approvals has to. {how}"
        return "Only a login session decides, never an API key: log in with `aliquot chat` and type /approvals."


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
