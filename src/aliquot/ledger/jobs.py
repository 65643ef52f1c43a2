"""The log's chores in every serving process: heartbeat, witnesses, time stamps, the nightly check of stored rows."""

from collections.abc import Sequence

from aliquot.kernel.clock import Clock
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.cosignature import WitnessKey, WitnessMalformed, parse_witnesses
from aliquot.ledger.outside import Outside
from aliquot.ledger.restated import Rechecker
from aliquot.platform.db import Database
from aliquot.platform.loops import Loops
from aliquot.platform.settings import Settings, SettingsError

_LOOKS_PER_BEAT = 5
_STAMP_LOOK_SECONDS = 60.0
_CHECK_LOOK_SECONDS = 600.0


def witnesses_of(settings: Settings) -> Sequence[WitnessKey]:
    """Raises SettingsError."""
    try:
        return parse_witnesses(settings.witnesses)
    except WitnessMalformed as error:
        raise SettingsError(f"setting witnesses: {error}") from error


def register_log_chores(loops: Loops, db: Database, ledger: LedgerApi, *, settings: Settings, clock: Clock, rechecker: Rechecker) -> None:
    outside = Outside(db, ledger, tsa_url=settings.tsa_url, stamp_seconds=settings.tsa_seconds)

    async def beat() -> None:
        async with db.begin() as tx:
            await ledger.beat(tx, settings.heartbeat_seconds)

    async def check() -> None:
        if clock.now().hour == settings.log_check_hour:
            await rechecker.nightly()

    loops.register("ledger.heartbeat", settings.heartbeat_seconds / _LOOKS_PER_BEAT, beat)
    loops.register("ledger.check", _CHECK_LOOK_SECONDS, check)
    if any(witness.url is not None for witness in ledger.anchors.witnesses):
        loops.register("ledger.witnesses", settings.witness_seconds, outside.ask_witnesses)
    if settings.tsa_url is not None:
        loops.register("ledger.stamp", min(settings.tsa_seconds, _STAMP_LOOK_SECONDS), outside.stamp)
