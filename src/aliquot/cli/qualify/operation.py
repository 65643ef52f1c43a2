"""Operation qualification: that the controls work on this machine, tried on an instance of its own that is thrown away."""

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from aliquot.cli.installation import open_installation
from aliquot.cli.qualify import database
from aliquot.cli.qualify.record import RecordChecks
from aliquot.cli.qualify.scratch import Scratch, expect
from aliquot.cli.qualify.steps import Seen, Step, Unmet
from aliquot.cli.qualify.waiting import until
from aliquot.ledger.note import load_log_key

_INSTRUMENT, _PROTOCOL = "PCR-02", "PCR-STD-35"
_OPEN = {
    "/api/health", "/api/chat/health", "/api/auth/login", "/api/shared/{token}", "/api/shared/{token}/attachments/{attachment_id}",
    "/api/auth/oidc", "/api/auth/oidc/login", "/api/auth/oidc/callback", "/api/auth/oidc/token", "/api/openapi.json",
}  # fmt: skip
"""What answers people who are not logged in: health, logging in, and links that were made for everybody."""
_FAILURES = 5
_EVENTS = (
    "login.failed", "login.locked", "tool_call.held", "approval.requested", "approval.rejected", "approval.approved", "approval.executed",
    "signature.refused", "signature.created", "api_key.created",
)  # fmt: skip


class OperationQualification:
    """The steps, in the order of a story: each may rely on what those before it did."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._canary = f"qualification-canary-{secrets.token_hex(8)}"
        self._sessions: dict[str, httpx2.Client] = {}
        self._record = RecordChecks(scratch, self._as)

    def close(self) -> None:
        self._scratch.stop()

    def steps(self) -> Sequence[Step]:
        s, record = Step, self._record
        return [
            s(title="Start", expected="A server starts on an empty data folder and is healthy.", run=self._start, essential=True),
            s(title="Access without log-in", expected="Every path but those named as open answers 401.", run=self._without_login),
            s(title="Access by role", expected="A viewer is refused the trail, the people, the report (403).", run=self._by_role),
            s(title="Lock-out", expected="After 5 wrong passwords the right one is refused too (429).", run=self._lock_out),
            s(title="Action held", expected="A start asked for in a chat is held for approval; the instrument stays idle.", run=self._held),
            s(title="Approval by others", expected="A viewer and an API key are refused the decision.", run=self._decided_by_others),
            s(title="Rejection", expected="A rejected start is not executed.", run=self._rejected),
            s(title="Approval", expected="An approved start is executed once; a second decision is refused.", run=self._approved),
            s(title="Signature, wrong password", expected="It is refused and not stored; nor does a token alone sign.", run=self._unsigned),
            s(title="Signature", expected="Name, time and meaning are shown, and it becomes final.", run=self._signed),
            s(title="Audit trail", expected="Each of these acts is an event with actor and time, in the log.", run=self._events),
            s(title="Changes of the log", expected="UPDATE, DELETE and TRUNCATE are refused to each login.", run=self._refusals),
            s(title="Export", expected="aliquot-verify finds the export whole, with the key as this machine knows it.", run=record.export),
            s(title="Altered export", expected="aliquot-verify refuses copies with an event edited, removed or added.", run=record.altered),
            s(title="Compliance report", expected="Its signature and proofs hold; an altered one is refused.", run=record.report),
            s(title="Encryption", expected="Words from a chat are in no file of the data folder.", run=self._encrypted),
            s(title="Crash", expected="After kill -9 a committed message is there, and the log goes on.", run=self._crash),
            s(title="Back-up", expected="A restored back-up opens, its rows agree with the log.", run=self._restored),
            s(title="Damaged back-up", expected="A back-up with one changed byte is refused.", run=self._damaged),
        ]

    def _as(self, role: str) -> httpx2.Client:
        """One session per person: logging in is limited."""
        if role not in self._sessions:
            self._sessions[role] = self._scratch.client(role)
        return self._sessions[role]

    def _start(self) -> Seen:
        self._scratch.start()
        health = expect(self._scratch.anonymous().get("/api/health"), 200)
        if health["status"] != "ok":
            raise Unmet(f"Its health is {health['status']}.")
        return Seen(f"Version {health['version']} is healthy.", (f"{self._scratch.url}, log {health['log']}",))

    def _without_login(self) -> Seen:
        anonymous = self._scratch.anonymous()
        paths = expect(anonymous.get("/api/openapi.json"), 200)["paths"]
        asked, wrong = 0, []
        for path, method in [(path, method) for path, methods in paths.items() if path not in _OPEN for method in methods]:
            place = "/".join("x" if part.startswith("{") else part for part in path.split("/"))
            answer = anonymous.request(method.upper(), place, json=None if method == "get" else {})
            asked += 1
            if answer.status_code != 401:
                wrong.append(f"{method.upper()} {path}: {answer.status_code}")
        if wrong or asked < 50:
            raise Unmet(f"{len(wrong)} of {asked} paths answered otherwise.", *wrong)
        return Seen(f"All {asked} answered 401.", (f"named as open: {', '.join(sorted(_OPEN))}",))

    def _by_role(self) -> Seen:
        paths = ("/api/audit", "/api/admin/users", "/api/compliance/report", "/api/policy/bundles")
        for path in paths:
            expect(self._as("viewer").get(path), 403)
        expect(self._as("reviewer").get("/api/audit"), 200)
        return Seen("Refused to a viewer; the trail was given to a reviewer.", paths)

    def _lock_out(self) -> Seen:
        anonymous, person = self._scratch.anonymous(), {"email": "clinician@demo.lab"}
        for _ in range(_FAILURES):
            expect(anonymous.post("/api/auth/login", json=person | {"password": "not the password"}), 401)
        expect(anonymous.post("/api/auth/login", json=person | {"password": self._scratch.password}), 429, "locked")
        return Seen(f"Locked after {_FAILURES} failures.")

    def _held(self) -> Seen:
        held = self._ask_for_a_start()
        return Seen("It waits for a person.", (f"approval {held['id']}, state {held['state']}, instrument {self._state()}",))

    def _ask_for_a_start(self) -> dict[str, Any]:
        """The approval that waits after asking in a chat. Raises Unmet."""
        said = {"message": f"Start {_PROTOCOL} on {_INSTRUMENT}"}
        expect(self._as("scientist").post("/api/chat/completion", json=said), 200)
        waiting = expect(self._as("scientist").get("/api/approvals", params={"role": "mine", "state": "pending"}), 200)["items"]
        if len(waiting) != 1 or self._state() != "idle":
            raise Unmet(f"{len(waiting)} approvals wait, the instrument is {self._state()}.")
        found: dict[str, Any] = waiting[0]
        return found

    def _state(self) -> str:
        return str(expect(self._as("scientist").get(f"/api/instruments/{_INSTRUMENT}/status"), 200)["state"])

    def _pending(self) -> str:
        waiting = expect(self._as("scientist").get("/api/approvals", params={"role": "mine", "state": "pending"}), 200)["items"]
        if not waiting:
            raise Unmet("No approval waits.")
        return f"/api/approvals/{waiting[0]['id']}/decision"

    def _decided_by_others(self) -> Seen:
        path, approve = self._pending(), {"decision": "approve"}
        viewer = self._as("viewer").post(path, json=approve)
        if viewer.status_code not in (403, 404):
            raise Unmet(f"A viewer was answered {viewer.status_code}.")
        key = expect(self._as("scientist").post("/api/auth/keys", json={"name": "qualification"}), 201)["secret"]
        program = self._scratch.anonymous()
        program.headers["Authorization"] = f"Bearer {key}"
        expect(program.post(path, json=approve), 403)
        expect(program.post(f"/api/records/protocol/{_PROTOCOL}/signatures", json={"meaning": "responsibility"}), 403)
        return Seen(f"A viewer: {viewer.status_code}; a program with the person's API key: 403.")

    def _rejected(self) -> Seen:
        expect(self._as("scientist").post(self._pending(), json={"decision": "reject", "reason": "qualification"}), 202)
        if self._state() != "idle":
            raise Unmet(f"The instrument is {self._state()}.")
        return Seen("The instrument is idle.")

    def _approved(self) -> Seen:
        path = f"/api/approvals/{self._ask_for_a_start()['id']}/decision"
        expect(self._as("scientist").post(path, json={"decision": "approve"}), 202)
        state = until(self._state, lambda state: state != "idle")
        expect(self._as("scientist").post(path, json={"decision": "approve"}), 409)
        running = expect(self._as("scientist").get("/api/runs-of-instruments", params={"instrument": _INSTRUMENT}), 200)["items"]
        active = [run["id"] for run in running if run["state"] not in ("done", "failed", "stopped")]
        if len(active) != 1:
            raise Unmet(f"{len(active)} runs are under way.")
        return Seen(f"The instrument is {state}; the second decision was refused (409).", (f"run {active[0]}",))

    _signing = f"/api/records/protocol/{_PROTOCOL}/signatures"

    def _unsigned(self) -> Seen:
        wish = {"meaning": "responsibility"}
        expect(self._as("scientist").post(self._signing, json=wish | {"password": "not the password"}), 403, "wrong_password")
        expect(self._as("scientist").post(self._signing, json=wish), 422)
        given = expect(self._as("scientist").get(self._signing), 200)["items"]
        if given:
            raise Unmet(f"{len(given)} signatures are stored.")
        return Seen("Refused: wrong_password (403), and without a secret (422). No signature is stored.")

    def _signed(self) -> Seen:
        wish = {"meaning": "responsibility", "password": self._scratch.password, "reason": "qualification"}
        made = expect(self._as("scientist").post(self._signing, json=wish), 201)
        place = f"{self._signing}/{made['id']}"
        shown = until(lambda: expect(self._as("scientist").get(place), 200), lambda signature: signature["state"] == "final")
        told = f"{shown['printed_name']}, {shown['signed_at']} ({shown['time_zone']}), {shown['meaning']}"
        if (shown["meaning"], shown["content"]) != ("responsibility", "current") or not shown["printed_name"]:
            raise Unmet(f"It shows {told}, content {shown['content']}.")
        return Seen(f"{told}; final.", (f"signature {made['id']}, content SHA-256 {made['sha256']}",))

    def _events(self) -> Seen:
        lines = []
        for action in _EVENTS:
            found = until(partial(self._listed, action), lambda events: bool(events) and events[0]["seq"] is not None)
            lines.append(f"{action}: event {found[0]['seq']}, {found[0]['at']}, actor {found[0]['actor']}")
        return Seen(f"All {len(_EVENTS)} are there.", tuple(lines))

    def _listed(self, action: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = expect(self._as("reviewer").get("/api/audit", params={"action": action}), 200)["items"]
        return found

    def _refusals(self) -> Seen:
        installation = open_installation(self._scratch.settings, exclusive=False)
        try:
            return database.refusals(installation)
        finally:
            installation.close()

    def _encrypted(self) -> Seen:
        said = {"message": f"Is {_INSTRUMENT} ready? {self._canary}"}
        expect(self._as("scientist").post("/api/chat/completion", json=said), 200)
        files = list(_files(self._scratch.data))
        holding = [str(file.relative_to(self._scratch.data)) for file in files if self._canary.encode() in file.read_bytes()]
        control = sum(b"tool_call.held" in file.read_bytes() for file in files)
        if holding:
            raise Unmet(f"They are in {len(holding)} of {len(files)} files.", *holding[:10])
        if control == 0:
            raise Unmet("The search finds nothing at all, not even what lies in clear.")
        return Seen(f"In none of {len(files)} files.", (f"control: the name of an event, which lies in clear, is in {control} files",))

    def _crash(self) -> Seen:
        said = {"message": f"Is {_INSTRUMENT} ready?", "conversation_id": "before-the-crash"}
        expect(self._as("scientist").post("/api/chat/completion", json=said), 200)
        self._scratch.kill()
        self._sessions.clear()
        self._scratch.start()
        messages = expect(self._as("scientist").get("/api/conversations/before-the-crash/messages"), 200)["items"]
        health = expect(self._scratch.anonymous().get("/api/health"), 200)
        if not any(message["content"] == said["message"] for message in messages) or health["parts"]["ledger"]["status"] != "ok":
            raise Unmet(f"{len(messages)} messages are there; the log is {health['parts']['ledger']['status']}.")
        return Seen(f"{len(messages)} messages are there, the log is ok with {health['parts']['ledger']['size']} events.")

    def _restored(self) -> Seen:
        backup, keys, fresh = (self._scratch.folder / name for name in ("backup", "backup-keys", "restored"))
        for arguments in (("backup", str(backup)), ("backup", "--keys", str(keys))):
            _done(self._scratch.command(*arguments))
        (fresh / "keys").mkdir(parents=True, mode=0o700)
        shutil.copy(self._scratch.data / "keys" / "root", fresh / "keys" / "root")
        _done(self._scratch.command("restore", str(backup), "--keys", str(keys), data=fresh))
        checked = _done(self._scratch.command("log", "check", data=fresh))
        before, after = (load_log_key(data / "keys").vkey for data in (self._scratch.data, fresh))
        if before != after:
            raise Unmet("The restored log has another key.")
        return Seen("Restored; nothing differs from its log.", (*checked.splitlines()[:2], f"verifier key {after}"))

    def _damaged(self) -> Seen:
        copy, fresh = self._scratch.folder / "backup-damaged", self._scratch.folder / "not-restored"
        shutil.copytree(self._scratch.folder / "backup", copy)
        dump = copy / "database.dump"
        raw = bytearray(dump.read_bytes())
        raw[len(raw) // 2] ^= 1
        dump.write_bytes(raw)
        (fresh / "keys").mkdir(parents=True, mode=0o700)
        shutil.copy(self._scratch.data / "keys" / "root", fresh / "keys" / "root")
        tried = self._scratch.command("restore", str(copy), "--keys", str(self._scratch.folder / "backup-keys"), data=fresh)
        if tried.returncode == 0 or (fresh / "pg").exists():
            raise Unmet(f"It ended with {tried.returncode}.")
        return Seen(f"Refused with exit code {tried.returncode}.", (tried.stderr.strip()[-300:],))


def _done(result: Any) -> str:
    """What a command that succeeded printed. Raises Unmet."""
    if result.returncode != 0:
        raise Unmet(f"`aliquot {' '.join(result.args[3:5])}` ended with {result.returncode}.", result.stderr.strip()[-300:])
    return str(result.stdout)


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(root) / name).is_file())
