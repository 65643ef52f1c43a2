"""A person's own records as a zip that is made while it is sent: nothing of it ever lies on a disk."""

import io
import json
import uuid
import zipfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import rfc3339
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import EventFilter
from aliquot.platform.db import Database
from aliquot.platform.vault import Damaged, Erased, Vault
from aliquot.records.erasure import store
from aliquot.records.signatures.statement import reason_aad, statement_aad

_PAGE = 200


class OwnRecords:
    """What identity, signatures and the log hold about a person."""

    def __init__(self, db: Database, identity: IdentityApi, ledger: LedgerApi, vault: Vault) -> None:
        self._db, self._identity, self._ledger, self._vault = db, identity, ledger, vault

    async def mine(self, principal: Principal) -> AsyncIterator[tuple[str, Any]]:
        """Profile, sessions and keys; signatures; every event this person caused or that is about them."""
        async with self._db.begin() as tx:
            yield "profile.json", asdict(await self._identity.person(tx, principal.id))
            yield "sessions.json", [asdict(session) for session in await self._identity.sessions(tx, principal)]
            yield "keys.json", [asdict(key) for key in await self._identity.keys(tx, principal.id)]
            rows = await store.signatures_of(tx, principal.id)
        yield "signatures.json", [self._signature(row) for row in rows]
        for name, wanted in (
            ("acts", EventFilter(actor=str(principal.id))),
            ("events_about_me", EventFilter(record_type="person", record_id=str(principal.id))),
        ):
            async for number, page in self._events(wanted):
                yield f"{name}/{number:05}.json", page

    async def _events(self, wanted: EventFilter) -> AsyncIterator[tuple[int, list[Any]]]:
        after: uuid.UUID | None = None
        number = 0
        while True:
            async with self._db.begin() as tx:
                events, after = await self._ledger.list(tx, wanted, limit=_PAGE, after=after)
            if events:
                yield number, [json.loads(event.body) for event in events]
            if after is None:
                return
            number += 1

    def _signature(self, row: Any) -> dict[str, Any]:
        shown = {"id": row.id, "record_type": row.record_type, "record_id": row.record_id, "version": row.version, "meaning": row.meaning}
        shown |= {"signed_at": row.signed_at, "sha256": row.sha256, "event_id": row.event_id}
        try:
            shown["statement"] = json.loads(self._vault.open(bytes(row.statement), aad=statement_aad(row.id)))
            shown["reason"] = None if row.reason is None else self._vault.open(bytes(row.reason), aad=reason_aad(row.id)).decode()
        except (Damaged, Erased) as problem:
            shown["problem"] = problem.code
        return shown


async def zipped(sources: Sequence[AsyncIterator[tuple[str, Any]]]) -> AsyncIterator[bytes]:
    """All files of the sources in one zip. Memory holds one file at a time."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sources:
            async for name, value in source:
                archive.writestr(name, json.dumps(value, default=_plain, ensure_ascii=False, indent=1))
                yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """Where the zip is written: it cannot be sought, so the zip is one that can be read as it comes."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, set | frozenset | tuple):
        return sorted(map(str, value)) if isinstance(value, set | frozenset) else list(value)
    return str(value)
