"""Attachments in front of the real clamd of Debian."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chat.test_attachments import upload
from tests.conftest import Urls
from tests.peers.clamd import EICAR
from tests.site import Seeded, running_site
from tests_system.conftest import apt_installed

_SIGNATURE = "Eicar-Local:0:*:" + EICAR.hex() + "\n"


@pytest.fixture(scope="module")
def clamd_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A clamd of our own with one signature: the databases of ClamAV would have to be downloaded."""
    binary = apt_installed("clamd", "clamav-daemon")
    folder = tmp_path_factory.mktemp("clamd")
    (folder / "eicar.ndb").write_text(_SIGNATURE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    user = "User root\n" if os.geteuid() == 0 else ""
    (folder / "clamd.conf").write_text(
        f"Foreground yes\nTCPAddr 127.0.0.1\nTCPSocket {port}\nDatabaseDirectory {folder}\nTemporaryDirectory {folder}\n"
        f"StreamMaxLength 5M\n{user}"
    )
    process = subprocess.Popen([binary, "-c", str(folder / "clamd.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


async def _listening(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
            else:
                writer.close()
                return


async def test_the_real_clamd_judges_uploads(clamd_port: int, seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> None:
    await _listening(clamd_port)
    settings = {"CLAMAV_HOST": "127.0.0.1", "CLAMAV_PORT": clamd_port}
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, **settings) as site:
        scientist = await site.client("scientist")
        clean = await upload(scientist, "a.txt", b"good words")
        assert (clean.status_code, clean.json()["state"]) == (201, "clean")
        infected = await upload(scientist, "eicar.txt", EICAR)
        assert (infected.status_code, infected.json()["code"]) == (422, "file_infected")
        large = await upload(scientist, "large.txt", b"x" * 8_000_000)
        assert (large.status_code, large.json()["code"]) == (413, "too_large_to_scan")
