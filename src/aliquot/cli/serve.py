"""`aliquot serve`: everything on one machine, from an empty folder to a listening server."""

import asyncio
import ipaddress
import os
import secrets
import shlex
import signal
import socket
import sys
from pathlib import Path

import structlog
import typer
import uvicorn

from aliquot.bootstrap import Background, Services, build
from aliquot.cli.installation import Installation, open_installation, require_serviceable
from aliquot.demo.people import DEMO_PEOPLE
from aliquot.demo.seed import is_seeded, seed
from aliquot.identity.contracts import FIRST_PASSWORD_FILE
from aliquot.platform.memory import settle
from aliquot.platform.settings import Settings, SettingsError
from aliquot.web.app import create_app

log = structlog.get_logger(__name__)

_WARM_SECONDS = 5.0  # the SDKs of the declared models are imported beside the first requests
_CHAT_DEFAULT = "http://127.0.0.1:8089"  # where `aliquot chat` looks unless told otherwise


def serve(settings: Settings, *, demo: bool | None) -> None:
    """Serve until SIGINT or SIGTERM, then stop the database too. Raises what `cli.common.EXPECTED` lists."""
    _refuse_open_bind(settings)
    listener = _listen(settings)
    try:
        installation = open_installation(settings, exclusive=True)
        try:
            require_serviceable(installation)
            _serve(settings, installation, listener, demo=demo)
        finally:
            installation.close()
    finally:
        listener.close()


def _serve(settings: Settings, installation: Installation, listener: socket.socket, *, demo: bool | None) -> None:
    services = build(settings, installation.vault, installation.urls)
    background = Background(services, alone=installation.postgres is not None)
    config = uvicorn.Config(
        create_app(services, background),
        loop="uvloop", http="httptools", ws="websockets-sansio", access_log=False, log_config=None, server_header=False, date_header=True,
        timeout_graceful_shutdown=max(1, int(settings.shutdown_seconds)), proxy_headers=False, h11_max_incomplete_event_size=65_536,
        ssl_certfile=str(settings.tls_cert) if settings.tls_cert else None, ssl_keyfile=str(settings.tls_key) if settings.tls_key else None,
        timeout_keep_alive=30, ws_max_size=settings.limits.live_frame_bytes, ws_ping_interval=20, ws_ping_timeout=20,
    )  # fmt: skip
    server = _Server(config, _FirstStart(services, installation, demo=demo))
    # uvicorn stops in order on these signals and then raises them once more, for whoever handled them before it: that must not
    # end the process here, because the database is still to be stopped.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _already_stopped)
    server.run(sockets=[listener])


def _already_stopped(number: int, frame: object) -> None:
    """The server has stopped; what follows is the database."""


class _Server(uvicorn.Server):
    """Makes what the first start needs, in the loop that serves; says what to try next once it really listens."""

    def __init__(self, config: uvicorn.Config, first: "_FirstStart") -> None:
        super().__init__(config)
        self._first = first

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        has_demo = await self._first.make()
        if self.should_exit:  # Ctrl-C meanwhile
            await self._first.close()
            return
        await super().startup(sockets=sockets)
        if self.started:
            settle()
            asyncio.get_running_loop().call_later(_WARM_SECONDS, settle)
            typer.echo(_banner(self._first.services, demo=has_demo))


class _FirstStart:
    """The first administrator, and the demo laboratory where it belongs. Later starts find both and do nothing."""

    def __init__(self, services: Services, installation: Installation, *, demo: bool | None) -> None:
        self.services, self._installation, self._demo = services, installation, demo

    async def make(self) -> bool:
        """True when the demo laboratory is there."""
        try:
            await self._administrator()
            return await self._laboratory()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self.services.models.close()
        await self.services.db.close()
        await self.services.sequencer_db.close()

    async def _administrator(self) -> None:
        settings = self.services.settings
        configured = settings.admin_password.get_secret_value() if settings.admin_password else None
        async with self.services.db.begin() as tx:
            password = await self.services.identity.ensure_first_admin(tx, settings.admin_email, configured)
        if password is not None:
            _hand_over(settings, FIRST_PASSWORD_FILE, f"First administrator {settings.admin_email}, one-time password", password)

    async def _laboratory(self) -> bool:
        settings, services = self.services.settings, self.services
        async with services.db.begin() as tx:
            seeded = await is_seeded(tx, services)
        fresh = self._installation.empty_before and settings.embedded and _is_loopback(settings.host)
        wanted = self._demo if self._demo is not None else fresh
        if seeded and settings.demo_password is not None:
            typer.echo("ALIQUOT_DEMO_PASSWORD changes nothing: the demo people exist (a new one: `aliquot user password`).")
        if not wanted or seeded:
            return seeded
        given = settings.demo_password.get_secret_value() if settings.demo_password else None
        password = given or secrets.token_urlsafe(12)
        await seed(services, password)
        typer.echo("Demo data: an invented laboratory was seeded (leave it out with --no-demo).")
        if given is None:
            _hand_over(settings, "demo-password", "Demo people (" + ", ".join(p.email for p in DEMO_PEOPLE) + "), password", password)
        return True


def _hand_over(settings: Settings, file_name: str, what: str, password: str) -> None:
    """A password is printed once and only on a terminal; otherwise it goes to a file only the owner can read."""
    if sys.stdout.isatty():
        typer.echo(f"{what}: {password}")
        return
    path = settings.data_dir / file_name
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(password + "\n")
    typer.echo(f"{what}: in {path} (readable by you only)")


def _banner(services: Services, *, demo: bool) -> str:
    settings = services.settings
    scheme = "https" if settings.tls_cert else "http"
    url = f"{scheme}://{settings.host}:{settings.port}"
    answers = "a language model" if services.models.configured else "its tools (no language model configured, see docs/models.md)"
    executable = _executable()
    there = "" if url == _CHAT_DEFAULT else f" --url {url}"
    default = Settings.model_fields["port"].default
    port = "" if settings.port == default else f"ALIQUOT_PORT={settings.port} "
    folder = f"ALIQUOT_DATA_DIR={shlex.quote(value)} " if (value := os.environ.get("ALIQUOT_DATA_DIR")) else ""
    tries = (' "Is PCR-02 ready?"', ' "Start PCR-STD-35 on PCR-02"') if demo else ("",)
    chats = "".join(f"  {executable} chat{there}{question}\n" for question in tries)
    return (
        f"\nAliquot is listening on {url} and answers with {answers}.\n"
        f"Try in another terminal, logged in as {'scientist@demo.lab' if demo else settings.admin_email}:\n"
        f"{chats}"
        f"  {folder}{port}{executable} doctor\n"
        "Ctrl-C stops the server and its database."
    )


def _executable() -> str:
    path = Path(sys.argv[0])
    try:
        return str(path.relative_to(Path.cwd())) if path.is_absolute() else str(path)
    except ValueError:
        return str(path)


def _listen(settings: Settings) -> socket.socket:
    """Take the port before anything else is started, so that a port in use is said at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"port {settings.port} on {settings.host} cannot be used ({error.strerror}): another server may be running; "
            "stop it or set ALIQUOT_PORT"
        ) from error
    listener.set_inheritable(True)
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse_open_bind(settings: Settings) -> None:
    if not _is_loopback(settings.host) and not settings.tls_cert and not settings.trusted_proxies:
        raise SettingsError(
            f"binding to {settings.host} without TLS is refused: set ALIQUOT_TLS_CERT and ALIQUOT_TLS_KEY, or ALIQUOT_TRUSTED_PROXIES "
            "for a reverse proxy that terminates TLS"
        )
