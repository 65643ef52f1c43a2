"""Health says what does not work, and a balancer sees it by the status."""

from pathlib import Path

import psycopg
import pytest

from aliquot.platform.settings import Limits
from tests.conftest import Urls
from tests.site import Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures

_MORE_THAN_ANY_DISK = 10**18


@pytest.mark.parametrize(("limit", "status", "ready"), [("disk_low_bytes", "low", 200), ("disk_full_bytes", "full", 503)])
async def test_a_disk_that_fills_up_is_said_before_writes_fail(
    seeded_urls: Urls, seeded: Seeded, tmp_path: Path, limit: str, status: str, ready: int  # noqa: F811 - fixtures
) -> None:  # fmt: skip
    limits = Limits(**{limit: _MORE_THAN_ANY_DISK})
    async with running_site(seeded_urls, tmp_path / "data", seeded, limits=limits, shutdown_seconds=0.2) as running:
        answer = await (await running.anonymous()).get("/api/health")
    document = answer.json()
    assert (answer.status_code, document["parts"]["disk"]["status"]) == (ready, status)
    assert document["status"] == ("down" if ready == 503 else "degraded")
    assert str(tmp_path) not in answer.text


async def test_a_write_that_found_the_databases_disk_full_shows(site: Site, seeded_urls: Urls) -> None:  # noqa: F811 - fixtures
    scientist = await site.client("scientist")
    assert (await scientist.get("/api/health")).json()["status"] == "ok"
    with psycopg.connect(seeded_urls.superuser, autocommit=True) as conn:
        conn.execute("CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$")
        conn.execute("CREATE TRIGGER no_room BEFORE INSERT ON conversation FOR EACH ROW EXECUTE FUNCTION no_room()")
    refused = await scientist.post("/api/conversations", json={"title": "Buffers"})
    assert (refused.status_code, refused.json()["code"]) == (503, "disk_full")
    health = await scientist.get("/api/health")
    assert (health.status_code, health.json()["parts"]["disk"]["status"], health.json()["parts"]["database"]["status"]) == (
        503,
        "full",
        "ok",
    )
