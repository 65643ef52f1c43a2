"""Who may touch the tables of the ledger: nobody edits, nobody deletes, the serving login cannot even try."""

from datetime import UTC, datetime

import psycopg
import pytest

from aliquot.kernel.ids import new_id
from aliquot.ledger import anchor_store
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.sequencer import Sequencer
from aliquot.platform.db import Database
from tests.conftest import Urls
from tests.ledger.conftest import append

EDITS = [
    "UPDATE audit_event SET actor = 'x'",
    "DELETE FROM audit_event",
    "TRUNCATE audit_event",
    "INSERT INTO audit_event SELECT * FROM audit_event ON CONFLICT (id) DO UPDATE SET actor = 'x'",
    "UPDATE audit_log SET leaf_hash = ''",
    "DELETE FROM audit_log",
    "TRUNCATE audit_log",
    "UPDATE audit_node SET hash = ''",
    "DELETE FROM audit_node",
    "TRUNCATE audit_node",
    "DELETE FROM audit_state",
    "TRUNCATE audit_state",
    "UPDATE audit_state SET size = 0",
    "UPDATE audit_state SET root_hash = sha256('x')",
    *(f"{verb} {table}" for table in ("audit_key", "audit_cosignature", "audit_timestamp") for verb in ("DELETE FROM", "TRUNCATE")),
    "UPDATE audit_key SET statement = ''",
    "UPDATE audit_cosignature SET note = ''",
    "UPDATE audit_timestamp SET note = ''",
]
TABLES = ("audit_event", "audit_log", "audit_node", "audit_state", "audit_key", "audit_cosignature", "audit_timestamp")
EVASIONS = [
    "SET session_replication_role = replica",
    "ALTER TABLE audit_event DISABLE TRIGGER ALL",
    "DROP TABLE audit_event",
    "DROP TRIGGER refuse_change ON audit_event",
    "SET ROLE aliquot_owner",
    "SET SESSION AUTHORIZATION aliquot_owner",
    "ALTER TABLE audit_event OWNER TO aliquot_app",
    "CREATE OR REPLACE FUNCTION aliquot_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
]


@pytest.fixture
async def filled(database: Database, ledger: LedgerApi, sequencer: Sequencer) -> None:
    await append(database, ledger, 257)
    await sequencer.run_once()
    async with database.begin() as tx:
        event_id, at = new_id(), datetime.now(UTC)
        await anchor_store.insert_rotation(tx, event_id=event_id, old="a", new="b", statement="c", at=at)
        await anchor_store.keep_cosigned(tx, anchor_store.Cosigned(1, "w", "n", at))
        await anchor_store.keep_stamp(tx, anchor_store.Stamp(1, "n", b"t", at))


@pytest.mark.usefixtures("filled")
@pytest.mark.rule("11.10(e)")
async def test_every_login_is_refused_every_edit(urls: Urls) -> None:
    for login, url in (("app", urls.app), ("sequencer", urls.sequencer), ("reader", urls.reader), ("owner", urls.owner)):
        before = contents(urls)
        for statement in EDITS:
            refused(url, statement, f"{login}: {statement}")
        assert contents(urls) == before


@pytest.mark.usefixtures("filled")
@pytest.mark.rule("11.10(e)")
async def test_the_serving_logins_cannot_get_around_it(urls: Urls) -> None:
    for url in (urls.app, urls.sequencer, urls.reader):
        for statement in EVASIONS:
            refused(url, statement, statement)


@pytest.mark.usefixtures("filled")
async def test_only_the_sequencer_extends_the_log(urls: Urls) -> None:
    for url in (urls.app, urls.reader):
        refused(url, "INSERT INTO audit_log VALUES (257, gen_random_uuid(), '')", "log")
        refused(url, "INSERT INTO audit_node VALUES (1, 9, '')", "node")
        refused(url, "UPDATE audit_state SET size = 0", "state")
    for url in (urls.sequencer, urls.reader):
        refused(
            url,
            "INSERT INTO audit_event (id, at, actor, action, record_type, record_id, body) "
            "VALUES (gen_random_uuid(), now(), '', '', '', '', '')",
            "event",
        )
    refused(urls.reader, "SELECT * FROM audit_event", "the reader of research queries sees no audit trail")


def refused(url: str, statement: str, what: str) -> None:
    with psycopg.connect(url) as conn:
        try:
            conn.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            conn.rollback()
        else:
            pytest.fail(f"was allowed: {what}")


def contents(urls: Urls) -> list[object]:
    with psycopg.connect(urls.superuser) as conn:
        return [conn.execute(f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} AS t").fetchone() for table in TABLES]


@pytest.mark.usefixtures("filled")
async def test_not_even_a_superuser_passes_the_triggers_without_switching_them_off(urls: Urls) -> None:
    """`session_replication_role = replica`, the silent way, does not help: the triggers are enabled ALWAYS."""
    before = contents(urls)
    for statement in EDITS:
        with psycopg.connect(urls.superuser) as conn:
            conn.execute("SET session_replication_role = replica")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)
    assert contents(urls) == before
    with psycopg.connect(urls.superuser) as conn:
        rights = conn.execute(
            "SELECT grantee, table_name, string_agg(privilege_type, ',' ORDER BY privilege_type) FROM information_schema.role_table_grants "
            "WHERE table_name = ANY(%s) AND grantee <> 'aliquot_owner' GROUP BY 1, 2",
            [list(TABLES)],
        ).fetchall()
    granted = {(str(login), str(table)): set(str(names).split(",")) for login, table, names in rights}
    assert all(names <= {"INSERT", "SELECT"} for (_, table), names in granted.items() if table != "audit_state")
    assert granted["aliquot_app", "audit_state"] == {"SELECT"}
    assert not any(login in {"aliquot_reader", "PUBLIC"} for login, _ in granted)


async def test_a_body_over_the_limit_is_refused_by_the_database_too(urls: Urls) -> None:
    with psycopg.connect(urls.app) as conn, pytest.raises(psycopg.errors.CheckViolation):
        conn.execute(
            "INSERT INTO audit_event (id, at, actor, action, record_type, record_id, body) "
            "VALUES (gen_random_uuid(), now(), 'a', 'b', 'c', 'd', decode(repeat('00', 32769), 'hex'))"
        )
