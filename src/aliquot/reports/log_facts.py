"""Facts about the log itself."""

from datetime import UTC, datetime, timedelta

from aliquot.kernel.clock import Clock
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import SIGNATURE_ACTIONS, Checkpoint, LedgerStatus
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Settings
from aliquot.reports.contracts import Attention, Fact, Period

_SHOWN = 10
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
_CHECK_HOURS = 48
_BACKLOG_SECONDS = 30.0


def utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


class LogFacts:
    """Looks at the log; what a reviewer should see goes to `attention`."""

    def __init__(self, ledger: LedgerApi, clock: Clock, settings: Settings, attention: list[Attention]) -> None:
        self._ledger, self._clock, self._settings, self._attention = ledger, clock, settings, attention

    async def gather(self, tx: Transaction, period: Period, checkpoint: Checkpoint) -> dict[str, Fact]:
        await self._backlog(await self._ledger.status(tx))
        return {
            "events": Fact(label="Events recorded", value=str(sum(period.counts.values())), of="period", found=bool(period.counts)),
            "checkpoint": Fact(label="Newest checkpoint", value=f"{checkpoint.size} events, root {checkpoint.root_hash}"),
            "log_key": Fact(label="Verifier key of the log", value=await self._ledger.vkey(tx)),
            "heartbeat": Fact(label="Heartbeat", value=f"every {self._settings.heartbeat_seconds} s when nothing else is recorded"),
            "anchors": await self._anchors(tx, period),
            "last_check": await self._last_check(tx),
            "altered": await self._altered(tx, period),
            "pending_signatures": await self._pending(tx),
            **await self._times(tx, period),
        }

    async def _backlog(self, status: LedgerStatus) -> None:
        if status.waiting_seconds > _BACKLOG_SECONDS:
            text = f"{status.waiting} events have waited for the log for up to {status.waiting_seconds:.0f} s: it may not be extended."
            self._attention.append(Attention(code="log_backlog", severity="fault", text=text))

    async def _anchors(self, tx: Transaction, period: Period) -> Fact:
        found = await self._ledger.anchors.newest(tx)
        if refused := period.counts.get("log.witness_refused", 0):
            text = f"A witness refused the log {refused} times: it may have been rolled back or forked."
            self._attention.append(Attention(code="witness_refused", severity="fault", text=text))
        if not found:
            text = "No witness and no time stamp has seen the log: whoever holds its key could write another history."
            self._attention.append(Attention(code="no_anchor", severity="look", text=text))
        details = tuple(f"{a.kind} {a.by}: {a.size} events, {utc(a.at)}" for a in found)
        return Fact(label="Witnesses and time stamps", value=str(len(found)) if found else "none", details=details, found=bool(found))

    async def _last_check(self, tx: Transaction) -> Fact:
        """The newest comparison of rows with the log, of any time."""
        label = "Last comparison of stored rows and log"
        found = await self._ledger.evidence.bodies(tx, ["log.checked"], _BEGINNING, self._now(), 1)
        if not found:
            self._attention.append(Attention(code="never_checked", severity="look", text="Stored rows were never compared with the log."))
            return Fact(label=label, value="never", found=False)
        at, failed = datetime.fromisoformat(found[0]["at"]), found[0]["outcome"] != "ok"
        if failed:
            text = f"The last comparison of stored rows with the log failed ({found[0]['reason']}), {utc(at)}."
            self._attention.append(Attention(code="check_failed", severity="fault", text=text))
        elif self._now() - at > timedelta(hours=_CHECK_HOURS):
            text = f"Stored rows were last compared with the log at {utc(at)}."
            self._attention.append(Attention(code="check_overdue", severity="look", text=text))
        return Fact(label=label, value=f"{'FAILED' if failed else 'passed'}, {utc(at)}", details=(found[0]["reason"],))

    async def _altered(self, tx: Transaction, period: Period) -> Fact:
        count = period.counts.get("log.record_altered", 0)
        bodies = await self._ledger.evidence.bodies(tx, ["log.record_altered"], period.since, period.until, _SHOWN) if count else []
        details = tuple(f"{b['record']['type']} {b['record']['id']}: {b['reason']}, {b['at']}" for b in bodies)
        if count:
            text = f"{count} times a stored row was found not to be what the log says of it."
            self._attention.append(Attention(code="record_altered", severity="fault", text=text))
        return Fact(label="Rows found altered", value=str(count) if count else "none", details=details, of="period", found=bool(count))

    async def _pending(self, tx: Transaction) -> Fact:
        count = await self._ledger.evidence.pending(tx, SIGNATURE_ACTIONS)
        if count:
            text = f"{count} signatures are not covered by a signed checkpoint yet: they are not final."
            self._attention.append(Attention(code="signatures_pending", severity="look", text=text))
        return Fact(label="Signatures that are not final", value=str(count) if count else "none")

    async def _times(self, tx: Transaction, period: Period) -> dict[str, Fact]:
        until = min(period.until, self._now())
        odd = await self._ledger.evidence.oddities(tx, period.since, until, self._settings.heartbeat_seconds, _SHOWN)
        if odd.silences:
            text = f"The log was silent {odd.silences} times, {odd.silent_seconds:.0f} s together: what happened then is not recorded."
            self._attention.append(Attention(code="silence", severity="look", text=text))
        if odd.set_back:
            text = f"{odd.set_back} events carry an earlier time than events before them: the clock was set back."
            self._attention.append(Attention(code="clock_set_back", severity="look", text=text))
        silent = tuple(f"{utc(s.since)} to {utc(s.until)}" for s in odd.longest)
        back = tuple(f"event {b.seq} says {utc(b.at)}, one before it {utc(b.latest)}" for b in odd.first_set_back)
        told = f"{odd.silences} ({odd.silent_seconds:.0f} s together), the longest:" if odd.silences else "none"
        silences = Fact(
            label="Silences longer than three heartbeats", value=told, details=silent, of="period", found=bool(odd.silences)
        )  # fmt: skip
        counted = str(odd.set_back) if odd.set_back else "none"
        clock = Fact(label="Events against the order of time", value=counted, details=back, of="period", found=bool(odd.set_back))
        return {"silences": silences, "clock": clock}

    def _now(self) -> datetime:
        return self._clock.now()
