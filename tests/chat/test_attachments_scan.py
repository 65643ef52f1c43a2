"""Attachments and the malware scanner: clean, infected, away, slow, talking nonsense."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from aliquot.platform.scan import Scanner, ScannerDown, TooLargeToScan
from aliquot.platform.settings import Limits
from tests.chat.conftest import seeded, seeded_urls  # noqa: F401 - fixtures
from tests.chat.test_attachments import blobs, rows, until_no_blobs, upload
from tests.conftest import PATIENCE, Urls
from tests.peers.clamd import EICAR, Clamd, clamd
from tests.site import Seeded, Site, running_site


@pytest.fixture
async def scanned(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> AsyncIterator[tuple[Site, Clamd]]:  # noqa: F811
    """A site with a scanner that a test may stop and start again."""
    peer = Clamd()
    async with clamd(peer):
        pass  # a port that is free
    settings = {"CLAMAV_HOST": "127.0.0.1", "CLAMAV_PORT": peer.port, "limits": Limits(scan_seconds=2)}
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, **settings) as site:
        yield site, peer


async def audited(site: Site, action: str) -> list[str]:
    async with site.services.db.begin() as tx:
        query = "SELECT convert_from(body, 'UTF8')::jsonb->>'reason' AS reason FROM audit_event WHERE action = :action ORDER BY id"
        return [row.reason for row in await tx.rows(text(query), {"action": action})]


async def test_a_clean_file_is_clean_and_an_infected_one_is_refused_and_leaves_nothing(scanned: tuple[Site, Clamd]) -> None:
    site, peer = scanned
    scientist = await site.client("scientist")
    async with clamd(peer):
        clean = await upload(scientist, "a.txt", b"good words")
        infected = await upload(scientist, "eicar.txt", EICAR)
    assert (clean.json()["state"], peer.scanned) == ("clean", [10, len(EICAR)])
    assert (infected.status_code, infected.json()["code"]) == (422, "file_infected")
    assert [str(row.id) for row in await rows(site)] == [clean.json()["id"]]
    assert await audited(site, "attachment.refused") == ["infected"]


async def test_files_wait_in_quarantine_while_the_scanner_is_away(scanned: tuple[Site, Clamd]) -> None:
    site, peer = scanned
    scientist = await site.client("scientist")
    good, bad = [(await upload(scientist, f"{n}.txt", content)).json() for n, content in enumerate((b"good words", EICAR))]
    assert (good["state"], good["phase"]) == ("quarantined", "waiting_for_scan")
    assert len(blobs(site)) == 4
    waiting = await scientist.get(f"/api/attachments/{good['id']}/download")
    assert (waiting.status_code, waiting.json()["code"]) == (409, "file_waiting")
    assert (await scientist.post(f"/api/attachments/{good['id']}/link")).json()["code"] == "file_waiting"
    asked = await scientist.post("/api/chat/completion", json={"message": "What does it say?", "attachments": [good["id"]]})
    assert "waits for the malware scan" in asked.json()["message"]["content"]
    jobs = site.services.chat.attachments.jobs
    await jobs.scan(attachment_id=good["id"], tries=0)  # still away: put off again
    assert (await scientist.get(f"/api/attachments/{good['id']}")).json()["state"] == "quarantined"
    async with clamd(peer):
        async with asyncio.timeout(PATIENCE):  # the worker of the site does it by itself
            while len(await audited(site, "attachment.scanned")) < 2:  # noqa: ASYNC110 - in its own time
                await asyncio.sleep(0.1)
        await jobs.scan(attachment_id=good["id"], tries=0)
        await jobs.scan(attachment_id=bad["id"], tries=0)
    assert sorted(await audited(site, "attachment.scanned")) == ["clean", "infected"]
    assert (await scientist.get(f"/api/attachments/{good['id']}/download")).content == b"good words"
    found = await scientist.get(f"/api/attachments/{bad['id']}/download")
    assert (found.status_code, found.json()["code"]) == (422, "file_infected")
    async with asyncio.timeout(PATIENCE):
        while len(blobs(site)) > 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await scientist.delete(f"/api/attachments/{good['id']}")
    await until_no_blobs(site)


async def test_a_scanner_that_does_not_answer_properly_counts_as_away() -> None:
    peer = Clamd(stream_max=1_000_000)
    async with clamd(peer):
        scanner = Scanner("127.0.0.1", peer.port, 0.3)
        assert (await scanner.scan([bytes(999_999)])).signature is None
        assert (await scanner.scan([b"x" * 10, EICAR])).signature == "Eicar-Test-Signature"
        with pytest.raises(TooLargeToScan):
            await scanner.scan([bytes(500_000)] * 20)
        for mode in ("mute", "nonsense", "drops"):
            peer.mode = mode
            with pytest.raises(ScannerDown):
                await scanner.scan([b"x"])
    with pytest.raises(ScannerDown):
        await scanner.scan([b"x"])
