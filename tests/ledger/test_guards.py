"""Who may touch the tables of the ledger: nobody edits, nobody deletes, the serving login cannot even try."""

import psycopg
import pytest

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
]
EVASIONS = [
    "SET session_replication_role = replica",
    "ALTER TABLE audit_event DISABLE TRIGGER ALL",
    "DROP TABLE audit_event",
    "DROP TRIGGER refuse_change ON audit_event",
    "CREATE OR REPLACE FUNCTION aliquot_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
]


@pytest.fixture
async def filled(database: Database, ledger: LedgerApi, sequencer: Sequencer) -> None:
    await append(database, ledger, 257)
    await sequencer.run_once()


@pytest.mark.usefixtures("filled")
async def test_every_login_is_refused_every_edit(urls: Urls) -> None:
    for login, url in (("app", urls.app), ("sequencer", urls.sequencer), ("reader", urls.reader), ("owner", urls.owner)):
        before = contents(urls)
        for statement in EDITS:
            refused(url, statement, f"{login}: {statement}")
        assert contents(urls) == before


@pytest.mark.usefixtures("filled")
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
        return [
            conn.execute(f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} AS t").fetchone()
            for table in ("audit_event", "audit_log", "audit_node", "audit_state")
        ]


async def test_a_body_over_the_limit_is_refused_by_the_database_too(urls: Urls) -> None:
    with psycopg.connect(urls.app) as conn, pytest.raises(psycopg.errors.CheckViolation):
        conn.execute(
            "INSERT INTO audit_event (id, at, actor, action, record_type, record_id, body) "
            "VALUES (gen_random_uuid(), now(), 'a', 'b', 'c', 'd', decode(repeat('00', 32769), 'hex'))"
        )
