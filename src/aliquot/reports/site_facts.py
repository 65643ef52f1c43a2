"""Facts about people, policy, records, models and the machine."""

import uuid
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sized
from datetime import datetime
from typing import Any, Protocol

import aliquot
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Accounts
from aliquot.kernel.ids import parse_id
from aliquot.ledger.api import LedgerApi
from aliquot.models.api import ModelsApi
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Damaged
from aliquot.policy.api import PolicyApi
from aliquot.records.access.api import AccessApi
from aliquot.records.alerts.api import AlertsApi
from aliquot.records.erasure.api import ErasureApi
from aliquot.records.retention.api import RetentionApi
from aliquot.reports.contracts import Attention, Fact, Period
from aliquot.reports.log_facts import utc
from aliquot.reports.rules import matrix

_SHOWN = 20
_MANY = 200
_POLICY_CHANGES = ("policy.activated", "policy.rolled_back")


class Doors(Protocol):
    """The domains whose state is told; `bootstrap.Services` has them all."""

    settings: Settings
    ledger: LedgerApi
    identity: IdentityApi
    policy: PolicyApi
    retention: RetentionApi
    erasure: ErasureApi
    access: AccessApi
    alerts: AlertsApi
    models: ModelsApi


class SiteFacts:
    """Looks at the site; what a reviewer should see goes to `attention`."""

    def __init__(self, doors: Doors, attention: list[Attention]) -> None:
        self._doors, self._attention, self._settings = doors, attention, doors.settings

    async def gather(self, tx: Transaction, period: Period) -> dict[str, Fact]:
        accounts = await self._doors.identity.accounts(tx)
        return {
            **self._people(accounts), **self._machine(), **self._limits(),
            "signers": await self._readable("People who may sign", self._signers(tx, accounts)),
            "policy": await self._readable("Policy in force", self._policy(tx)),
            "policy_changes": await self._readable("Changes of the policy in force", self._policy_changes(tx, period)),
            "schedules": await self._schedules(tx),
            "holds": await self._readable("Legal holds that stand", self._holds(tx)),
            "erasures": await self._erasures(tx, period),
            "break_glass": await self._readable("Emergency accesses", self._break_glass(tx, period)),
            "backups": await self._backups(tx, period),
            "security_alerts": await self._readable("Security alerts", self._alerts(tx, period)),
            "qualifications": await self._qualifications(tx, period),
            "models": await self._models(),
            "matrix": self._matrix(),
        }  # fmt: skip

    def _look(self, code: str, text: str, *, fault: bool = False) -> None:
        self._attention.append(Attention(code=code, severity="fault" if fault else "look", text=text))

    async def _readable(self, label: str, fact: Awaitable[Fact]) -> Fact:
        """What is sealed may have been damaged: then the report says so, instead of being refused when it is needed most."""
        try:
            return await fact
        except Damaged:
            self._look("content_damaged", f"{label}: what is stored of it was altered or damaged and cannot be read.", fault=True)
            return Fact(label=label, value="cannot be told: what is stored of it is damaged", found=False)

    # People

    def _people(self, accounts: Accounts) -> dict[str, Fact]:
        roles = tuple(f"{role}: {count}" for role, count in accounts.roles.items())
        if accounts.roles.get("admin", 0) < 2:
            self._look("single_administrator", "There is only one administrator: what takes two of them waits instead.")
        if accounts.api_keys_for_ever:
            self._look("keys_for_ever", f"{accounts.api_keys_for_ever} API keys never expire.")
        return {
            "accounts": Fact(
                label="Accounts", details=(*roles, f"with a one-time password that was not changed: {accounts.must_change}"),
                value=f"{accounts.active} active, {accounts.disabled} disabled",
            ),
            "api_keys": Fact(label="Working API keys", value=f"{accounts.api_keys}, of them {accounts.api_keys_for_ever} without an end"),
        }  # fmt: skip

    async def _signers(self, tx: Transaction, accounts: Accounts) -> Fact:
        bare, number = accounts.signers_without_otp, accounts.without_otp
        if number:
            text = "1 person who may sign has" if number == 1 else f"{number} people who may sign have"
            self._look("signers_without_second_factor", f"{text} no second factor at this server.")
        if accounts.signing_held:
            text = f"The right to sign of {accounts.signing_held} people waits for a second administrator after a reset."
            self._look("signing_held", text)
        details = tuple(f"without a second factor: {name}" for name in await self._named(tx, bare[:_SHOWN]))
        more = (f"and {number - _SHOWN} more",) if number > _SHOWN else ()
        value = f"{accounts.may_sign} active people, {accounts.may_sign - number} of them with a second factor"
        return Fact(label="People who may sign", value=value, details=(*details, *more))

    async def _named(self, tx: Transaction, ids: Collection[uuid.UUID]) -> list[str]:
        names = await self._doors.identity.names(tx, set(ids))
        return [f"{names.get(person) or 'erased'} ({person})" for person in ids]

    # Policy

    async def _policy(self, tx: Transaction) -> Fact:
        health = self._doors.policy.health()
        info, _ = await self._doors.policy.bundles.get(tx, None)
        signers = [signature.person_id for signature in info.signatures if signature.valid]
        if health["status"] != "ok":
            self._look("policy_degraded", "The policy that was activated last could not be loaded: an older one is in force.", fault=True)
        if not signers:
            self._look("policy_unsigned", "The policy bundle in force carries no valid signature.")
        details = tuple(f"signed by {name}" for name in await self._named(tx, signers)) or ("not signed",)
        return Fact(label="Policy in force", value=f"{info.name}, version {info.version}", details=details)

    async def _policy_changes(self, tx: Transaction, period: Period) -> Fact:
        count = sum(period.counts.get(action, 0) for action in _POLICY_CHANGES)
        bodies = await self._bodies(tx, _POLICY_CHANGES, period) if count else []
        actors = await self._actors(tx, bodies)
        details = tuple(
            f"{_when(body)}: {body['action']} {body['record']['id']} by {actors.get(body['actor'], body['actor'])}" for body in bodies
        )
        return Fact(
            label="Changes of the policy in force",
            value=_count(count),
            details=details,
            of="period",
            found=bool(count),
            events=_ids(bodies),
        )

    # Records

    async def _schedules(self, tx: Transaction) -> Fact:
        found = await self._doors.retention.schedules(tx)
        lines = tuple(
            f"{s.kind}: {'for ever' if s.keep_days is None else f'{s.keep_days} days'} from {s.since}{', fixed' if s.fixed else ''}"
            for s in found
        )
        return Fact(label="Retention schedules", value=str(len(found)), details=lines)

    async def _holds(self, tx: Transaction) -> Fact:
        found = await self._doors.retention.standing(tx, limit=_MANY + 1)
        details = tuple(f"{hold.id}, since {utc(hold.made_at)}" for hold in found[:_SHOWN])
        return Fact(label="Legal holds that stand", value=_up_to(found), details=details, found=bool(found))

    async def _erasures(self, tx: Transaction, period: Period) -> Fact:
        unfinished = await self._doors.erasure.unfinished(tx)
        if unfinished:
            self._look("erasure_unfinished", f"{unfinished} erasures were ordered and are not finished.")
        ordered, done, refused = (period.counts.get(f"subject.{a}", 0) for a in ("erasure_ordered", "erased", "erasure_refused"))
        bodies = await self._bodies(tx, ("subject.erased",), period) if done else []
        details = tuple(f"{_when(body)}: key of person {body['record']['id']} destroyed, event {body['id']}" for body in bodies)
        value = f"{ordered} ordered, {done} done, {refused} refused"
        return Fact(label="Erasures", value=value, details=details, of="period", found=bool(ordered + done + refused), events=_ids(bodies))

    async def _break_glass(self, tx: Transaction, period: Period) -> Fact:
        waiting, _ = await self._doors.access.glasses(tx, unreviewed=True, limit=_MANY + 1, after=None)
        if waiting:
            self._look("break_glass_unreviewed", f"{_up_to(waiting)} emergency accesses wait for their review.")
        granted = period.counts.get("break_glass.granted", 0)
        who = await self._named(tx, [glass.person_id for glass in waiting[:_SHOWN]])
        details = tuple(f"not reviewed: {utc(glass.granted_at)} by {name}" for glass, name in zip(waiting, who, strict=False))
        value = f"{granted} granted, {period.counts.get('break_glass.reviewed', 0)} reviewed; {_up_to(waiting)} wait for a review now"
        return Fact(label="Emergency accesses", value=value, details=details, of="period", found=bool(granted or waiting))

    async def _backups(self, tx: Transaction, period: Period) -> Fact:
        bodies = await self._bodies(tx, ("backup.made",), period)
        if not bodies:
            self._look("no_backup", "No back-up made by `aliquot backup` is recorded in this period.")
        count = period.counts.get("backup.made", 0)
        details = tuple(f"{_when(body)}: SHA-256 of its manifest {body['versions'].get('manifest')}" for body in bodies)
        return Fact(label="Back-ups recorded", value=_count(count), details=details, of="period", found=bool(bodies), events=_ids(bodies))

    async def _alerts(self, tx: Transaction, period: Period) -> Fact:
        waiting, _ = await self._doors.alerts.page(tx, state="open", limit=_MANY + 1, after=None)
        if waiting:
            self._look("security_alerts_open", f"{_up_to(waiting)} security alerts wait for an acknowledgement.")
        if self._settings.security_contact is None:
            self._look("no_security_contact", "No security contact is told of failed signings (setting security_contact).")
        told = period.counts.get("security.alerted", 0)
        details = tuple(
            f"open: {alert.kind}, {alert.count} times, {utc(alert.first_at)} to {utc(alert.last_at)}, mail {alert.mail}"
            for alert in waiting[:_SHOWN]
        )
        value = f"{told} in the period, {_up_to(waiting)} open now"
        return Fact(label="Security alerts", value=value, details=details, of="period", found=bool(told or waiting))

    async def _qualifications(self, tx: Transaction, period: Period) -> Fact:
        count = period.counts.get("qualification.recorded", 0)
        bodies = await self._bodies(tx, ("qualification.recorded",), period) if count else []
        if bodies and bodies[0]["outcome"] != "ok":
            self._look(
                "qualification_failed", f"The newest qualification ({bodies[0]['reason']}, {_when(bodies[0])}) did not pass.", fault=True
            )
        details = tuple(
            f"{_when(body)}: {body['reason']}, {'passed' if body['outcome'] == 'ok' else 'FAILED'}, SHA-256 {body['versions']['report']}"
            for body in bodies
        )
        label = "Qualifications recorded"
        return Fact(label=label, value=_count(count), details=details, of="period", found=bool(count), events=_ids(bodies))

    # Machine

    async def _models(self) -> Fact:
        found = await self._doors.models.list_models()
        lines = tuple(f"{m.name}: {m.model} at {m.provider}{', may see data of patients' if m.patient_data else ''}" for m in found)
        return Fact(label="Language models", value=_count(len(found)), details=lines, found=bool(found))

    def _machine(self) -> dict[str, Fact]:
        settings = self._settings
        ways = {"TLS by this server": settings.tls_cert, f"behind {len(settings.trusted_proxies)} named proxies": settings.trusted_proxies}
        transport = next((way for way, given in ways.items() if given), f"plain HTTP on {settings.host}: this machine only")
        root = "environment" if settings.root_key else "key service plug-in" if settings.kms else "file of this machine"
        database = "embedded in the data folder" if settings.embedded else "external server"
        return {
            "transport": Fact(label="Transport", value=transport),
            "encryption": Fact(label="Encryption at rest", value=f"AES-256-GCM, a key per person; root key from: {root}"),
            "time_zone": Fact(label="Time zone of the site", value=settings.time_zone),
            "software": Fact(label="Software", value=f"Aliquot {aliquot.__version__}", details=(f"database: {database}",)),
        }

    def _limits(self) -> dict[str, Fact]:
        limits = self._settings.limits
        lockout = f"after {limits.login_failures} failures within {limits.login_window_seconds} s"
        signing = f"all secrets again after {limits.signing_idle_seconds} s without signing"
        return {
            "lockout": Fact(label="Lock-out of log-ins", value=lockout),
            "signing": Fact(label="Components of a signature", value=signing),
            "sessions": Fact(label="Length of a session", value=f"{self._settings.session_hours} hours"),
        }

    def _matrix(self) -> Fact:
        found = matrix()
        outcomes = [outcome for tests in found.rules.values() for outcome in tests.values()]
        passed, failed = outcomes.count("passed"), outcomes.count("failed")
        if failed:
            self._look("tests_failed", f"{failed} entries of the released test matrix failed.", fault=True)
        if passed + failed < len(outcomes) or not outcomes:
            self._look("tests_not_run", f"{len(outcomes) - passed - failed} entries of the released test matrix were not run.")
        if found.version != aliquot.__version__:
            text = f"The test matrix is of version {found.version}, this software is {aliquot.__version__}."
            self._look("matrix_of_other_version", text)
        value = f"{len(outcomes)} entries, {passed} passed"
        details = (f"run of {found.date}, version {found.version}, commit {found.commit}",)
        return Fact(label="Released test matrix", value=value, details=details)

    async def _bodies(self, tx: Transaction, actions: Iterable[str], period: Period) -> list[dict[str, Any]]:
        return await self._doors.ledger.evidence.bodies(tx, list(actions), period.since, period.until, _SHOWN)

    async def _actors(self, tx: Transaction, bodies: Iterable[dict[str, Any]]) -> dict[str, str]:
        ids = [person for body in bodies if (person := parse_id(body["actor"])) is not None]
        return {str(person): name for person, name in zip(ids, await self._named(tx, ids), strict=True)}


def from_counts(counts: Mapping[str, int]) -> list[Attention]:
    """What the mere number of some events says."""
    told = {
        "login.locked": "Lock-outs after failed log-ins",
        "signature.refused": "Signings that were refused",
        "api_key.refused": "API keys presented that are revoked or expired",
        "policy.change_refused": "Changes of the policy that were refused",
        "log_key.rotated": "Rotations of the log's key",
    }
    return [
        Attention(code=action.replace(".", "_"), severity="look", text=f"{text}: {counts[action]}.")
        for action, text in told.items()
        if counts.get(action)
    ]


def _up_to(found: Sized) -> str:
    """How many, of a list that was read up to one more than _MANY."""
    return f"more than {_MANY}" if len(found) > _MANY else _count(len(found))


def _count(count: int) -> str:
    return str(count) if count else "none"


def _ids(bodies: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(body["id"] for body in bodies)


def _when(body: dict[str, Any]) -> str:
    return utc(datetime.fromisoformat(body["at"]))
