"""The door to security alerts."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import NotFound, RateLimited
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, EventFilter, RecordRef
from aliquot.platform.db import Database, Transaction
from aliquot.platform.jobs import Jobs
from aliquot.platform.mail import Mailer, MailFailed
from aliquot.platform.settings import Settings
from aliquot.platform.vault import SITE, Vault
from aliquot.records.alerts import store
from aliquot.records.alerts.contracts import AlertState, Happened, MailState, SecurityAlert
from aliquot.records.alerts.errors import AlreadyAcknowledged, OwnAlert
from aliquot.records.alerts.rules import ACTIONS, FAILED_LOGIN, happened, when

SEND_ALERT = "records.send_alert"
NOTE_CHARS = 2_000
_EVENTS_AT_ONCE = 1_000
_TOLD_MAX = 50
_HOUR_SECONDS = 3_600.0
_ATTEMPTS = 17  # pauses of 2, 4, 8 … seconds: a mail server may be away for more than a day
_WORDS = {
    "signing_secret": "signatures with wrong secrets",
    "signing_right": "signatures by somebody without the right to sign",
    "login_failures": "failed log-ins on an account that may sign",
}


class AlertsApi:
    """Finds reasons for alerts in the log, groups them, tells the security contact, and shows them to administrators.

    The log is where every refusal is, whichever door it happened at; looking through it costs the doors nothing, and a crash loses
    nothing: how far it was looked through commits together with what was found.
    """

    def __init__(
        self, *, identity: IdentityApi, ledger: LedgerApi, vault: Vault, clock: Clock, db: Database, jobs: Jobs, settings: Settings
    ) -> None:  # fmt: skip
        self._identity, self._ledger, self._vault, self._clock, self._db, self._jobs = identity, ledger, vault, clock, db, jobs
        self._limits, self._limiter = settings.limits, identity.limiter
        self._contact, self._url = settings.security_contact, settings.public_url
        self._mail = Mailer(settings.smtp_url.get_secret_value(), settings.mail_from) if settings.smtp_url is not None else None
        jobs.register(SEND_ALERT, self._send, attempts=_ATTEMPTS)

    # Finding

    async def look(self) -> None:
        """Look through what was added to the log. For a loop: one process looks at a time, and what a crash leaves is found again."""
        more = True
        while more:
            async with self._db.begin() as tx:
                more = await self._look(tx)

    async def _look(self, tx: Transaction) -> bool:
        """True when there is more to look at."""
        start = await store.watched(tx)
        if start is None:
            return False
        end = (await self._ledger.status(tx)).size
        found = await self._ledger.found(tx, ACTIONS, start, end, limit=_EVENTS_AT_ONCE)
        for event in found:
            what = happened(event.body)
            if what is not None:
                await self._count(tx, what, when(event.body))
        full = len(found) == _EVENTS_AT_ONCE
        if end > start:
            await store.move_watch(tx, (found[-1].seq or 0) + 1 if full else end)
        await self._tell(tx)
        return full

    async def _count(self, tx: Transaction, what: Happened, at: datetime) -> None:
        """By the times of the events: nobody may have looked for hours, and what happened then is an attack as well."""
        times = 1
        if what.kind == "login_failures":
            times = await self._failures(tx, what.person_id, at)
            if times <= self._limits.alert_login_failures:
                return
        since = at - timedelta(minutes=self._limits.alert_group_minutes)
        standing = await store.standing(tx, what.kind, what.person_id, since)
        if standing is not None:
            seen = max(times, standing.times) if what.kind == "login_failures" else standing.times + 1
            await store.change(tx, standing.id, {"times": seen, "last_at": max(at, standing.last_at)})
            return
        alert_id = new_id()
        values = {"id": alert_id, "kind": what.kind, "person_id": what.person_id, "times": times, "first_at": at, "last_at": at}
        await store.add(tx, values)
        record = RecordRef(type="security_alert", id=str(alert_id))
        event = AuditEvent(
            action="security.alerted", actor="system", record=record, reason=what.kind, on_behalf_of=str(what.person_id)
        )  # fmt: skip
        await self._ledger.append(tx, event)

    async def _failures(self, tx: Transaction, person_id: uuid.UUID, at: datetime) -> int:
        """Failed log-ins of the while before `at`, this one too, on an account that may sign; 0 for any other."""
        try:
            person = await self._identity.person(tx, person_id)
        except NotFound:
            return 0
        if not (person.may_sign and person.active):
            return 0
        since, until = at - timedelta(seconds=self._limits.login_window_seconds), at + timedelta(milliseconds=1)
        wanted = EventFilter(action=FAILED_LOGIN, record_type="person", record_id=str(person_id), since=since, until=until)
        events, _ = await self._ledger.list(tx, wanted, limit=1_000)
        return len(events)

    # Telling

    async def _tell(self, tx: Transaction) -> None:
        """Put what was not told of into one mail, unless there were many mails: then it waits and goes with the next."""
        if self._contact is None or self._mail is None or not await store.untold(tx):
            return
        try:
            await self._limiter.hit(tx, "security-mail", self._limits.alert_mails_per_hour, _HOUR_SECONDS)
        except RateLimited:
            return
        mail_id = new_id()
        await store.add_mail(tx, mail_id, self._clock.now())
        await self._jobs.defer(tx, SEND_ALERT, {"mail_id": str(mail_id)})

    async def _send(self, *, mail_id: str) -> None:
        """Job. Tried again while the mail server is away; the same Message-ID says that it is the same mail."""
        key = uuid.UUID(mail_id)
        async with self._db.begin() as tx:
            mail, alerts = await store.mail(tx, key), await store.told(tx, key, _TOLD_MAX + 1)
        if mail is None or mail.sent_at is not None or self._mail is None or self._contact is None:
            return
        try:
            await self._mail.send(
                to=self._contact, subject="Aliquot: security alert", message_id=f"<{key}@aliquot.invalid>", text=self._text(alerts)
            )  # fmt: skip
        except MailFailed as error:
            await self._settle(key, {"error_code": error.code, "given_up": int(error.final)})
            if not error.final:
                raise
        else:
            await self._settle(key, {"sent_at": self._clock.now(), "error_code": None})

    async def _settle(self, mail_id: uuid.UUID, values: dict[str, Any]) -> None:
        async with self._db.begin() as tx:
            await store.change_mail(tx, mail_id, values)

    def _text(self, alerts: Any) -> str:
        """Kinds, counts, times and ids: nothing of what people wrote, no names, no addresses."""
        lines = [
            f"- {rfc3339(alert.first_at)}  {_WORDS[alert.kind]}: {alert.times}; person {alert.person_id}; alert {alert.id}"
            for alert in alerts[:_TOLD_MAX]
        ]
        more = "and more.\n" if len(alerts) > _TOLD_MAX else ""
        where = f"{self._url or ''}/api/admin/security-alerts"
        return "Somebody should look at this:\n\n" + "\n".join(lines) + f"\n{more}\nDetails and acknowledgement: {where}\n"

    # Showing

    async def page(
        self, tx: Transaction, *, state: AlertState | None, limit: int, after: uuid.UUID | None
    ) -> tuple[list[SecurityAlert], uuid.UUID | None]:
        """Newest first, and the cursor of the next page."""
        rows = await store.page(tx, open_only=None if state is None else state == "open", limit=limit + 1, after=after)
        return [self._shown(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def acknowledge(self, tx: Transaction, principal: Principal, alert_id: uuid.UUID, note: str | None) -> SecurityAlert:
        """Somebody looked at it. What happens from now on is a new alert. Raises NotFound, OwnAlert, AlreadyAcknowledged."""
        row = await store.lock(tx, alert_id)
        if row is None:
            raise NotFound
        if row.person_id == principal.id:
            raise OwnAlert
        if row.acknowledged_at is not None:
            raise AlreadyAcknowledged
        sealed = None if note is None else self._vault.seal(SITE, note.encode(), aad=_aad(alert_id))
        values = {"acknowledged_by": principal.id, "acknowledged_at": self._clock.now(), "note": sealed}
        await store.change(tx, alert_id, values)
        event = AuditEvent(
            action="security.acknowledged", actor=str(principal.id), via=principal.via, ip=principal.ip, reason=row.kind,
            record=RecordRef(type="security_alert", id=str(alert_id)), content={} if note is None else {"note": note.encode()},
            subject=SITE,
        )  # fmt: skip
        await self._ledger.append(tx, event)
        shown = await store.one(tx, alert_id)
        return self._shown(shown)

    def _shown(self, row: Any) -> SecurityAlert:
        return SecurityAlert(
            id=row.id, kind=row.kind, person_id=row.person_id, count=row.times, first_at=row.first_at, last_at=row.last_at,
            state="open" if row.acknowledged_at is None else "acknowledged", mail=self._mail_state(row), mail_error=row.error_code,
            acknowledged_by=row.acknowledged_by, acknowledged_at=row.acknowledged_at,
            note=None if row.note is None else self._vault.open(bytes(row.note), aad=_aad(row.id)).decode(),
        )  # fmt: skip

    def _mail_state(self, row: Any) -> MailState:
        if row.mail_id is None:
            return "none" if self._contact is None else "waiting"
        if row.sent_at is not None:
            return "sent"
        return "failed" if row.given_up else "waiting"


def _aad(alert_id: uuid.UUID) -> str:
    return f"security_alert.note:{alert_id}"
