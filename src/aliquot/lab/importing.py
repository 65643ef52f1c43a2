"""Filling a laboratory from a file, all or nothing: in the caller's transaction, each change audited as if it were made alone."""

from collections.abc import Sequence

from aliquot.identity.contracts import Actor
from aliquot.kernel.clock import Clock
from aliquot.lab import inventory, store
from aliquot.lab.catalogue import Catalogue
from aliquot.lab.contracts import Instrument, Protocol
from aliquot.lab.inventory import Difference, Inventory
from aliquot.lab.views import Views
from aliquot.platform.db import Transaction

_ALL = 100_000


class Importing:
    """Compares and applies inventories."""

    def __init__(self, catalogue: Catalogue, views: Views, clock: Clock) -> None:
        self._catalogue, self._views, self._clock = catalogue, views, clock

    async def present(self, tx: Transaction) -> tuple[Sequence[Instrument], Sequence[Protocol]]:
        """Everything, what is retired too, by code."""
        at = self._clock.now()
        instruments = [await self._views.instrument(row, run, at) for row, run in await store.instruments_with_runs(tx, limit=_ALL)]
        return instruments, await store.protocols(tx, kind=None, words=(), after="", limit=_ALL, retired=True)

    async def apply(self, tx: Transaction, actor: Actor, wanted: Inventory) -> list[Difference]:
        """Make it so; what was changed. A refusal of one change raises, and the caller's transaction undoes the others."""
        changes = inventory.differences(wanted, *await self.present(tx))
        instruments, protocols = {one.code: one for one in wanted.instruments}, {one.code: one for one in wanted.protocols}
        for change in changes:
            retired = change.what == "retire"
            if change.what == "add":
                await self._catalogue.add_instrument(tx, actor, instruments[change.code].new())
            elif change.what == "change":
                body = instruments[change.code]
                await self._catalogue.change_instrument(tx, actor, change.code, body.change(), version=None)
            elif change.what == "publish":
                await self._catalogue.publish_protocol(tx, actor, change.code, protocols[change.code].text(), version=None)
            elif change.kind == "instrument":
                await self._catalogue.retire_instrument(tx, actor, change.code, retired=retired)
            else:
                await self._catalogue.retire_protocol(tx, actor, change.code, retired=retired)
        return changes
