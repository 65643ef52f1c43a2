"""Speaks to witnesses (C2SP tlog-witness) and time-stamping authorities (RFC 3161). Chores of a serving process: they hold no
transaction while they wait, and nothing waits for them."""

import base64
import hashlib
from collections.abc import Sequence

import httpx2
import structlog

from aliquot.ledger import anchor_store
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.ledger.cosignature import WitnessKey
from aliquot.ledger.errors import CosignatureRefused, NoCheckpoint, StampRefused
from aliquot.ledger.note import parse_checkpoint
from aliquot.platform.db import Database

log = structlog.get_logger(__name__)

_SECONDS = 15.0
_ANSWER_BYTES_MAX = 65_536
_TRIES = 2  # a witness that remembers another size says which: once more with that


class Outside:
    """What the log asks of others."""

    def __init__(self, db: Database, ledger: LedgerApi, *, tsa_url: str | None, stamp_seconds: float) -> None:
        self._db, self._ledger, self._anchors, self._tsa_url, self._stamp_seconds = db, ledger, ledger.anchors, tsa_url, stamp_seconds
        self.refused: dict[str, str] = {}
        """What a witness said when it refused the log (a fork, a roll-back); an audit event says so too."""

    async def ask_witnesses(self) -> None:
        """Have the newest checkpoint cosigned by every witness that has an address."""
        for witness in self._anchors.witnesses:
            if witness.url is not None:
                try:
                    await self._ask(witness, witness.url)
                except httpx2.HTTPError as error:
                    log.warning("witness_unreachable", witness=witness.name, error=type(error).__name__)

    async def _ask(self, witness: WitnessKey, url: str) -> None:
        async with self._db.begin() as tx:
            old = await anchor_store.cosigned_size(tx, witness.name)
            try:
                note = await self._anchors.checkpoint(tx)
            except NoCheckpoint:
                return
        size = parse_checkpoint(note.rpartition("\n\n")[0] + "\n").size
        if size <= old:
            return
        for _ in range(_TRIES):
            async with self._db.begin() as tx:
                proof = await self._anchors.consistency(tx, old, size)
            async with httpx2.AsyncClient(timeout=_SECONDS) as client:
                answer = await client.post(f"{url}/add-checkpoint", content=_request(old, proof, note))
            remembered = answer.text.strip()
            if answer.status_code == 409 and remembered.isdecimal() and int(remembered[:15]) <= size:
                old = int(remembered)
                continue
            await self._judge(witness, answer, note)
            return

    async def _judge(self, witness: WitnessKey, answer: httpx2.Response, note: str) -> None:
        if answer.status_code != 200:
            if witness.name not in self.refused:
                await self._alert(witness, answer.status_code)
            self.refused[witness.name] = answer.text[:300]
            return
        try:
            async with self._db.begin() as tx:
                await self._anchors.accept(tx, note + answer.text[:_ANSWER_BYTES_MAX])
            self.refused.pop(witness.name, None)
        except CosignatureRefused as problem:
            log.error("cosignature_refused", witness=witness.name, code=problem.code)

    async def _alert(self, witness: WitnessKey, status: int) -> None:
        log.error("witness_refused", witness=witness.name, status=status)
        record = RecordRef(type="audit_log", id="log")
        reason = f"witness:{witness.name} status:{status}"
        async with self._db.begin() as tx:
            await self._ledger.append(
                tx, AuditEvent(action="log.witness_refused", actor="system", record=record, reason=reason, outcome="failed")
            )

    async def stamp(self) -> None:
        """Have the newest checkpoint time-stamped, if that is due."""
        if self._tsa_url is None:
            return
        async with self._db.begin() as tx:
            due = await self._anchors.due_for_stamp(tx, self._stamp_seconds)
        if due is None:
            return
        size, note = due
        try:
            token = await self._stamped(self._tsa_url, note.encode())
        except (httpx2.HTTPError, StampRefused) as error:
            log.warning("not_time_stamped", error=type(error).__name__)
            return
        async with self._db.begin() as tx:
            await self._anchors.keep_stamp(tx, size=size, note=note, token=token)

    async def _stamped(self, url: str, data: bytes) -> bytes:
        """The response, if it is a granted one over `data` with our nonce. Who signed it is for verifiers to judge. Raises StampRefused."""
        import rfc3161_client as tsp  # noqa: PLC0415 - most installations do not stamp

        request = tsp.TimestampRequestBuilder().data(data).hash_algorithm(tsp.HashAlgorithm.SHA256).build()
        async with httpx2.AsyncClient(timeout=_SECONDS) as client:
            answer = await client.post(url, content=request.as_bytes(), headers={"Content-Type": "application/timestamp-query"})
        if answer.status_code != 200 or len(answer.content) > _ANSWER_BYTES_MAX:
            raise StampRefused
        try:
            response = tsp.decode_timestamp_response(answer.content)
            info = response.tst_info
            granted = response.status == tsp.PKIStatus.GRANTED
        except ValueError as error:
            raise StampRefused from error
        if not granted or info.nonce != request.nonce or info.message_imprint.message != hashlib.sha256(data).digest():
            raise StampRefused
        return answer.content


def _request(old: int, proof: Sequence[bytes], note: str) -> bytes:
    lines = "".join(f"{base64.b64encode(part).decode()}\n" for part in proof)
    return f"old {old}\n{lines}\n{note}".encode()
