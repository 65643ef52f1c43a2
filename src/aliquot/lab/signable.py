"""What can be signed in the laboratory: ended instrument runs and protocol versions."""

import json
import uuid
from dataclasses import asdict
from typing import Any

from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.ids import parse_id
from aliquot.lab import store
from aliquot.lab.errors import UnknownInstrumentRun, UnknownProtocol
from aliquot.lab.rules import newest_protocol
from aliquot.lab.store import RunRow
from aliquot.lab.views import Views
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import EventFilter
from aliquot.platform.db import Transaction
from aliquot.platform.vault import SITE, Erased, Vault
from aliquot.records.signatures.contracts import SignableRecord
from aliquot.records.signatures.errors import NotSignable

_READ = "lab.read"


class SignableRuns:
    """Instrument runs, by code or id, once they are over and written down."""

    name = "instrument_run"
    direct = True

    def __init__(self, views: Views, vault: Vault, clock: Clock) -> None:
        self._views, self._vault, self._clock = views, vault, clock

    async def locate(self, tx: Transaction, principal: Principal, reference: str) -> str:
        return (await self._row(tx, principal, reference)).code

    async def current(self, tx: Transaction, principal: Principal, record_id: str, part: str | None) -> SignableRecord:
        row = await self._row(tx, principal, record_id)
        if part is not None:
            raise NotSignable("A run is signed as a whole.")
        if row.ended_at is None:
            raise NotSignable("The run is not over yet, or its end was not written down yet.")
        return SignableRecord(
            kind=self.name, id=row.code, version=row.version, title=f"Run {row.code}: {row.protocol_code} on {row.instrument_code}",
            content=canonical_json(await self._content(row)), authors=frozenset({row.operator_id}),
            subjects=(SITE if row.stop_reason is None else self._vault.subject_of(bytes(row.stop_reason)),),
        )  # fmt: skip

    async def _row(self, tx: Transaction, principal: Principal, reference: str) -> RunRow:
        run_id = parse_id(reference)
        row = await (store.run_by_id(tx, run_id) if run_id is not None else store.run_by_code(tx, reference.upper()))
        if row is None or not principal.may(_READ):
            raise UnknownInstrumentRun
        return row

    async def _content(self, row: RunRow) -> dict[str, Any]:
        """All that is recorded of the run. The operator's name is left out: it can be erased, the id stays."""
        run = await self._views.run(row, self._clock.now())
        if row.stop_reason is not None and run.stop_reason is None:
            raise Erased
        return {
            "type": self.name, "id": row.code, "version": row.version, "run": str(row.id), "instrument": run.instrument,
            "protocol": run.protocol, "protocol_version": run.protocol_version, "operator": str(run.operator_id),
            "samples": list(run.samples), "parameters": dict(run.parameters), "units": dict(run.units), "state": row.state,
            "started_at": rfc3339(run.started_at), "ended_at": None if row.ended_at is None else rfc3339(row.ended_at),
            "results": [asdict(result) for result in run.results], "stop_reason": run.stop_reason, "error_code": run.error_code,
        }  # fmt: skip


class SignableProtocols:
    """The newest version of a protocol. Its author is who published it, which the log knows."""

    name = "protocol"
    direct = True

    def __init__(self, ledger: LedgerApi) -> None:
        self._ledger = ledger

    async def locate(self, tx: Transaction, principal: Principal, reference: str) -> str:
        if not principal.may(_READ):
            raise UnknownProtocol
        return (await newest_protocol(tx, reference))[1].code

    async def current(self, tx: Transaction, principal: Principal, record_id: str, part: str | None) -> SignableRecord:
        if part is not None:
            raise NotSignable("A protocol is signed as a whole.")
        code = await self.locate(tx, principal, record_id)
        protocol = (await newest_protocol(tx, code))[1]
        content = {
            "type": self.name, "id": protocol.code, "version": protocol.version, "published_at": rfc3339(protocol.published_at),
            "text": asdict(protocol.text),
        }  # fmt: skip
        return SignableRecord(
            kind=self.name, id=protocol.code, version=protocol.version, title=f"{protocol.code}: {protocol.text.name}",
            content=canonical_json(content), authors=await self._authors(tx, protocol.code, protocol.version), subjects=(SITE,),
        )  # fmt: skip

    async def _authors(self, tx: Transaction, code: str, version: int) -> frozenset[uuid.UUID]:
        wanted = EventFilter(action="protocol.published", record_type=self.name, record_id=code)
        events, _ = await self._ledger.list(tx, wanted, limit=200)
        said = [json.loads(event.body) for event in events]
        return frozenset(found for event in said if event["record"]["version"] == version and (found := parse_id(event["actor"])))
