"""Appending: in the transaction of the change or not at all."""

import json
import uuid

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from aliquot.kernel.clock import SystemClock
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.ledger.errors import EventMalformed, EventTooLarge
from aliquot.ledger.events import event_body
from aliquot.platform.db import Database
from aliquot.platform.vault import SITE, Erased, Vault

# What PostgreSQL and UTF-8 can hold; U+2028, quotes, controls and astral characters included.
_TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=30)


@pytest.fixture
def ledger(vault: Vault) -> LedgerApi:
    return LedgerApi(vault, SystemClock())


def an_event(**changes: object) -> AuditEvent:
    given = {"action": "run.started", "actor": "anonymous", "record": RecordRef(type="run", id="r-1")}
    return AuditEvent(**(given | changes))


async def body_of(database: Database, event_id: uuid.UUID) -> bytes:
    async with database.begin() as tx:
        return bytes(await tx.scalar(text("SELECT body FROM audit_event WHERE id = :id"), {"id": event_id}))


async def test_the_stored_bytes_are_the_canonical_event(database: Database, ledger: LedgerApi, vault: Vault) -> None:
    subject = uuid.uuid4()
    vault.ensure_subject(subject)
    run = uuid.uuid4()
    async with database.begin() as tx:
        event_id = await ledger.append(
            tx,
            an_event(
                run_id=run, tool="start_run", reason="policy", on_behalf_of="p", ip="127.0.0.1", via="session", subject=subject,
                content={"message": "Größe 5 µL".encode()}, versions={"policy": "p1"},
            ),
        )  # fmt: skip
    stored = await body_of(database, event_id)
    value = json.loads(stored)
    assert rfc8785.dumps(value) == stored
    code, key_id = vault.commit(subject, "Größe 5 µL".encode())
    assert value.pop("at").endswith("Z")
    assert value == {
        "v": 1, "id": str(event_id), "actor": "anonymous", "on_behalf_of": "p", "via": "session", "ip": "127.0.0.1",
        "action": "run.started",
        "record": {"type": "run", "id": "r-1", "version": 1}, "run_id": str(run), "tool": "start_run", "outcome": "ok",
        "reason": "policy",
        "content": [{"name": "message", "hmac": code, "key_id": key_id}], "versions": {"policy": "p1"},
    }  # fmt: skip
    assert b"Gr" not in stored


async def test_optional_members_are_left_out(database: Database, ledger: LedgerApi) -> None:
    async with database.begin() as tx:
        event_id = await ledger.append(tx, an_event())
    assert sorted(json.loads(await body_of(database, event_id))) == sorted(
        ["v", "id", "at", "actor", "via", "action", "record", "outcome", "content", "versions"]
    )


async def change(database: Database, ledger: LedgerApi, *events: AuditEvent, then: Exception | None = None) -> None:
    async with database.begin() as tx:
        for event in events:
            await ledger.append(tx, event)
        if then is not None:
            raise then


@pytest.mark.rule("11.10(e)")
async def test_a_rolled_back_change_leaves_no_event(database: Database, ledger: LedgerApi) -> None:
    with pytest.raises(KeyError):
        await change(database, ledger, an_event(), then=KeyError())
    assert await count(database) == 0


async def count(database: Database) -> int:
    async with database.begin() as tx:
        return int(await tx.scalar(text("SELECT count(*) FROM audit_event")))


REFUSED: list[tuple[AuditEvent, type[Exception]]] = [
    (an_event(action="Run Started"), EventMalformed),
    (an_event(action="run"), EventMalformed),
    (an_event(record=RecordRef(type="run", id="a\x00b")), EventMalformed),
    (an_event(record=RecordRef(type="run", id="\ud800")), EventMalformed),
    (an_event(record=RecordRef(type="run", id="")), EventMalformed),
    (an_event(record=RecordRef(type="run", id="x" * 256)), EventMalformed),
    (an_event(record=RecordRef(type="run", id="x", version=2**60)), EventMalformed),
    (an_event(record=RecordRef(type="run", id="x", version=1.5)), EventMalformed),  # type: ignore[arg-type]  # on purpose
    (an_event(versions={"Policy é": "1"}), EventMalformed),
    (an_event(versions={"policy": 1.5}), EventMalformed),
    (an_event(actor=""), EventMalformed),
    (an_event(reason="\udfff"), EventMalformed),
    (an_event(content={"message": b"x"}), EventMalformed),
    (an_event(content={"no name": b"x"}, subject=uuid.UUID(int=0)), EventMalformed),
    (an_event(reason="x" * 33_000), EventTooLarge),
    (an_event(content={"message": b"x"}, subject=uuid.uuid4()), Erased),
]


@pytest.mark.rule("11.10(e)")
async def test_what_cannot_be_recorded_undoes_the_change(database: Database, ledger: LedgerApi) -> None:
    for event, refusal in REFUSED:
        with pytest.raises(refusal):
            await change(database, ledger, an_event(), event)
        assert await count(database) == 0, event  # the first event stands for the change: it vanished with the refused one


@given(
    st.builds(
        AuditEvent,
        action=st.just("run.started"),
        actor=_TEXT,
        record=st.builds(RecordRef, type=st.just("run"), id=_TEXT, version=st.integers(-(2**53) + 1, 2**53 - 1)),
        reason=st.none() | _TEXT,
        tool=st.none() | _TEXT,
        ip=st.none() | _TEXT,
        run_id=st.none() | st.uuids(),
        versions=st.dictionaries(st.from_regex(r"[a-z][a-z0-9_.]{0,20}", fullmatch=True), st.text(max_size=20)),
        content=st.dictionaries(st.from_regex(r"[a-z][a-z0-9_.]{0,20}", fullmatch=True), st.binary(max_size=20), max_size=3),
        subject=st.just(SITE),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_any_event_is_rfc_8785(vault: Vault, event: AuditEvent) -> None:
    body = event_body(event, event_id=uuid.uuid4(), at=SystemClock().now(), vault=vault)
    assert body == rfc8785.dumps(json.loads(body))
