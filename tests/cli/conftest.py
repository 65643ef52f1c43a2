"""The client as people start it: a process of its own, in front of a real site; a proxy that drops connections; a terminal."""

import asyncio
import json
import os
import pty
import random
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.chat.conftest import MODELS
from tests.conftest import PATIENCE, Cluster, Urls
from tests.peers.fixtures import model_host  # noqa: F401 - a fixture
from tests.peers.models_server import ModelHost, ModelServer
from tests.site import PASSWORD, Seeded, Site, running_site, seeded  # noqa: F401 - a fixture

DEADLINE = PATIENCE
_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


# --- sites


@contextmanager
def _serving(urls: Urls, folder: Path, made: Seeded, **settings: Any) -> Iterator[Site]:
    """A site in a thread of its own, shared by the tests of this process: starting one costs more than asking it."""
    found: list[Site] = []
    failed: list[BaseException] = []
    started, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        try:
            async with running_site(urls, folder, made, shutdown_seconds=0.2, **settings) as site:
                found.append(site)
                started.set()
                await stop.wait()
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        assert started.wait(PATIENCE)
        assert found, f"the site did not start: {failed!r}"
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        loop.close()


async def _for_one_test(shared: Site) -> AsyncIterator[Site]:
    site = Site(shared.services, shared.url, shared.people)
    yield site
    for http in site._clients:
        await http.aclose()


@pytest.fixture(scope="session")
def shared_site(cluster: Cluster, seeded: Seeded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:  # noqa: F811 - the fixture
    with cluster.database(seeded.template) as urls, _serving(urls, tmp_path_factory.mktemp("plain") / "data", seeded) as site:
        yield site


@pytest.fixture(scope="session")
def shared_model_server(model_host: ModelHost) -> ModelServer:  # noqa: F811 - the fixture
    return model_host.server()


@pytest.fixture(scope="session")
def shared_model_site(
    cluster: Cluster,
    seeded: Seeded,  # noqa: F811 - the fixture
    tmp_path_factory: pytest.TempPathFactory,
    shared_model_server: ModelServer,
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("model")
    models = folder / "models.toml"
    models.write_text(MODELS.format(url=shared_model_server.openai_url))
    with cluster.database(seeded.template) as urls, _serving(urls, folder / "data", seeded, models=models) as site:
        yield site


@pytest.fixture
async def site(shared_site: Site) -> AsyncIterator[Site]:
    """A site without a language model. No test leaves a run on an instrument behind."""
    async for one in _for_one_test(shared_site):
        yield one


@pytest.fixture
async def model_site(shared_model_site: Site) -> AsyncIterator[Site]:
    """A site whose only model is the fake provider."""
    async for one in _for_one_test(shared_model_site):
        yield one


@pytest.fixture
def model_server(shared_model_server: ModelServer) -> ModelServer:
    """The fake provider, as if it had just been started."""
    shared_model_server.requests.clear()
    shared_model_server._script.clear()
    return shared_model_server


@pytest.fixture
async def own_site(cluster: Cluster, seeded: Seeded, tmp_path: Path) -> AsyncIterator[Site]:  # noqa: F811 - the fixture
    """A site of this test alone, for what cannot be undone."""
    with cluster.database(seeded.template) as urls:
        async with running_site(urls, tmp_path / "own", seeded, shutdown_seconds=0.2) as site:
            yield site


async def runs_of(site: Site, instrument: str) -> list[dict[str, Any]]:
    """The active runs of an instrument."""
    scientist = await site.client("scientist")
    answer = await scientist.get(f"/api/instruments/{instrument}/runs", params={"state": "active"})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def colleague(site: Site) -> httpx2.AsyncClient:
    """A second scientist, logged in; the same for all tests."""
    admin, email = await site.client("admin"), "colleague@demo.lab"
    body = {"email": email, "name": "Otto Other", "roles": ["scientist"]}
    made = await admin.post("/api/admin/users", json=body)
    if made.status_code == 201:
        http = await site.anonymous()
        once = made.json()["password"]
        token = (await http.post("/api/auth/login", json={"email": email, "password": once})).json()["token"]
        changed = await http.post(
            "/api/auth/password",
            json={"old_password": once, "new_password": PASSWORD},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert changed.status_code == 204, changed.text
    http = await site.anonymous()
    token = (await http.post("/api/auth/login", json={"email": email, "password": PASSWORD})).json()["token"]
    http.headers["Authorization"] = f"Bearer {token}"
    return http


async def stop_runs(site: Site, instrument: str) -> None:
    """End what the scientist started, so that the next test finds the instrument free."""
    scientist = await site.client("scientist")
    for run in await runs_of(site, instrument):
        asked = await scientist.post(f"/api/runs-of-instruments/{run['code']}/stop", json={"reason": "the test is over"})
        assert asked.status_code == 202, asked.text
        approval = asked.json()["approval"]["id"]
        decided = await scientist.post(f"/api/approvals/{approval}/decision", json={"decision": "approve"})
        await scientist.get(f"/api/runs/{decided.json()['run_id']}/events")
    assert not await runs_of(site, instrument)


# --- the client


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass
class Client:
    """`aliquot chat` with a home folder of its own."""

    home: Path
    url: str
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ", "PYTHONPATH") if name in os.environ}
        return kept | {"HOME": str(self.home), "TERM": "xterm", "PYTHONUTF8": "1", "COLUMNS": "100", "ALIQUOT_URL": self.url} | more

    async def start(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "aliquot.cli.chat", *arguments, env=self.environment(**environment), cwd=self.home,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    async def run(self, *arguments: str, stdin: str = "", **environment: str) -> Ended:
        process = await self.start(*arguments, **environment)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), DEADLINE)
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    @property
    def files(self) -> list[Path]:
        return sorted((self.home / ".config" / "aliquot" / "servers").glob("*"))

    @property
    def remembered(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.files[0].read_text())
        return found


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Callable[[str], Client]]:
    """Makes clients of a server."""
    made: list[Client] = []

    def make(url: str) -> Client:
        home = tmp_path / f"home{len(made)}"
        home.mkdir()
        made.append(Client(home, url))
        return made[-1]

    yield make
    for process in [process for one in made for process in one.processes]:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def token_of(at: Site, role: str = "scientist") -> str:
    return bearer(await at.client(role))


def bearer(http: httpx2.AsyncClient) -> str:
    return str(http.headers["Authorization"].removeprefix("Bearer "))


# --- dropped connections


@dataclass
class Proxy:
    """Relays TCP to the site; each of the first connections ends after the next number of bytes the site sent."""

    url: str
    cuts: list[int]
    made: int = 0
    cut: int = 0
    chance: random.Random = field(default_factory=random.Random)


@asynccontextmanager
async def dropping(target: str, seed: int, cuts: list[int]) -> AsyncIterator[Proxy]:
    host, _, port = target.removeprefix("http://").partition(":")
    proxy = Proxy("", list(cuts), chance=random.Random(seed))
    tasks: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        left = proxy.cuts[proxy.made] if proxy.made < len(proxy.cuts) else None
        proxy.made += 1
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        up = asyncio.create_task(_copy(reader, up_writer, None))
        down = asyncio.create_task(_copy(up_reader, writer, left))
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            if not down.done():
                await asyncio.wait((down,), timeout=0.5)
            if left is not None and down.done() and down.result():
                proxy.cut += 1
                if proxy.chance.random() < 0.5:
                    writer.transport.abort()  # a reset instead of an orderly end
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            writer.close()
            up_writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> bool:
    """True when it stopped because the bytes that were left had passed."""
    try:
        while chunk := await reader.read(65_536):
            if left is not None and len(chunk) >= left:
                writer.write(chunk[:left])
                await writer.drain()
                return True
            left = None if left is None else left - len(chunk)
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except (ConnectionError, RuntimeError):
        pass
    return False


# --- a terminal


class Terminal:
    """`aliquot chat` on a pseudo-terminal, as a person sees it."""

    def __init__(self, master: int, pid: int) -> None:
        self._master, self._pid = master, pid
        self.raw = ""
        self._seen = 0
        self._changed = asyncio.Event()
        self.code: int | None = None
        self._rest = b""
        os.set_blocking(master, False)
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65_536)
        except BlockingIOError:
            return
        except OSError:  # the process has closed its side
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
            self.code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self.raw += data.decode("utf-8", "replace")
        self._changed.set()

    @property
    def text(self) -> str:
        """What was written, without control sequences."""
        return _SEQUENCES.sub("", self.raw)

    def type(self, line: str) -> None:
        os.write(self._master, f"{line}\r".encode())

    def interrupt(self) -> None:
        os.write(self._master, b"\x03")

    async def interrupt_prompt(self, wanted: str) -> None:
        """Ctrl-C at a prompt, again while `wanted` does not come: between showing a prompt and listening to the keyboard,
        Python's readline does not notice a signal before the next key."""
        for _ in range(60):
            self.interrupt()
            try:
                await self.expect(wanted, DEADLINE / 60)
            except AssertionError:
                if self.code is not None:
                    raise
            else:
                return
        raise AssertionError(f"{wanted!r} did not come after Ctrl-C; the terminal shows:\n{self.text}")

    async def expect(self, wanted: str, seconds: float | None = None) -> str:
        """Wait until `wanted` is there, after what was expected before; what came until then."""

        async def wait() -> str:
            while (at := self.text.find(wanted, self._seen)) < 0:
                assert self.code is None, f"ended with {self.code} before {wanted!r}:\n{self.text}"
                self._changed.clear()
                await self._changed.wait()
            start, self._seen = self._seen, at + len(wanted)
            return self.text[start : self._seen]

        try:
            return await asyncio.wait_for(wait(), seconds or DEADLINE)
        except TimeoutError:
            raise AssertionError(f"{wanted!r} did not come; the terminal shows:\n{self.text}") from None

    async def end(self) -> int:
        async def wait() -> int:
            while self.code is None:
                self._changed.clear()
                await self._changed.wait()
            return self.code

        return await asyncio.wait_for(wait(), DEADLINE)

    def close(self) -> None:
        if self.code is None:
            asyncio.get_running_loop().remove_reader(self._master)
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)
        os.close(self._master)


@asynccontextmanager
async def terminal(client: Client, *arguments: str, **environment: str) -> AsyncIterator[Terminal]:
    command = [sys.executable, "-m", "aliquot.cli.chat", *arguments]
    variables = client.environment(**environment)
    pid, master = pty.fork()
    if pid == 0:  # the child: nothing but exec, the parent has threads
        try:
            os.execve(command[0], command, variables)
        finally:
            os._exit(127)
    shown = Terminal(master, pid)
    try:
        yield shown
    finally:
        shown.close()


__all__ = [
    "PASSWORD",
    "Client",
    "Ended",
    "Proxy",
    "Terminal",
    "bearer",
    "colleague",
    "dropping",
    "runs_of",
    "stop_runs",
    "terminal",
    "token_of",
]
