"""Failed signings and attacks on accounts that may sign: found in the log, told to the security contact, shown and acknowledged."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from email.message import Message
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from aiosmtpd.controller import Controller

from aliquot.platform.settings import SettingsError, load_settings
from aliquot.records.alerts.rules import happened
from tests.chat.test_export import Inbox
from tests.conftest import PATIENCE, ManualClock, Urls
from tests.site import PASSWORD, Seeded, Site, running_site, seeded, seeded_urls  # noqa: F401 - fixtures

SIGN = "/api/records/protocol/PCR-STD-35/signatures"
LIST = "/api/admin/security-alerts"
CONTACT = "security@demo.lab"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def watched(urls: Urls, folder: Path, seeded: Seeded, port: int, **more: Any) -> AsyncIterator[Site]:  # noqa: F811
    settings = {"SMTP_URL": f"smtp://127.0.0.1:{port}", "security_contact": CONTACT, **more}
    async with running_site(urls, folder, seeded, shutdown_seconds=0.2, **settings) as site:
        yield site


async def until(site: Site, holds: Callable[[], Awaitable[bool]]) -> None:
    """Look through the log as the loop does every 10 s, until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await site.services.alerts.look()
            await asyncio.sleep(0.05)  # polling the sequencer and the worker


async def listed(admin: httpx2.AsyncClient, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await admin.get(LIST, params=query)).json()["items"]
    return found


@pytest.mark.rule("11.300")
async def test_failed_signings_are_told_and_acknowledged(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> None:  # noqa: F811
    inbox, port = Inbox(), free_port()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    async with watched(seeded_urls, tmp_path / "data", seeded, port, limits={"alert_login_failures": 3}) as site:
        admin, reviewer, viewer = [await site.client(role) for role in ("admin", "reviewer", "viewer")]
        for _ in range(3):
            refused = await reviewer.post(SIGN, json={"meaning": "review", "password": "not the right one"})
            assert refused.json()["code"] == "wrong_password"
        assert (await viewer.post(SIGN, json={"meaning": "review", "password": PASSWORD})).json()["code"] == "may_not_sign"
        for expected in (201, 409):  # signed, and signed already: a refusal by the rules is no reason
            assert (await reviewer.post(SIGN, json={"meaning": "approval", "password": PASSWORD})).status_code == expected
        stranger = await site.anonymous()
        for email in ("scientist@demo.lab", "viewer@demo.lab", "nobody@demo.lab"):
            for n in range(4):
                await stranger.post("/api/auth/login", json={"email": email, "password": f"guess {n}"})

        async def three() -> bool:
            return len(await listed(admin)) == 3

        await until(site, three)
        alerts = {(a["kind"], a["person_id"]): a for a in await listed(admin)}
        secret = alerts["signing_secret", str(site.people["reviewer"])]
        assert (secret["count"], secret["state"], secret["mail"]) == (3, "open", "waiting")
        assert alerts["login_failures", str(site.people["scientist"])]["count"] == 4
        assert alerts["signing_right", str(site.people["viewer"])]["count"] == 1
        assert not any(a["person_id"] == str(site.people["viewer"]) and a["kind"] == "login_failures" for a in alerts.values())

        controller.start()  # the mail server was away all the while
        try:

            async def told() -> bool:
                return {a["mail"] for a in await listed(admin)} == {"sent"}

            await until(site, told)
            body = _text(inbox.mails[0])
            assert inbox.mails[0]["To"] == CONTACT
            assert f"signatures with wrong secrets: 3; person {site.people['reviewer']}" in "\n".join(map(_text, inbox.mails))
            assert not any(word in body for word in ("demo.lab", "not the right one", "Reviewer"))
            before = len(inbox.mails)
            await reviewer.post(SIGN, json={"meaning": "review", "password": "not the right one"})

            async def counted() -> bool:
                return any((a["id"], a["count"]) == (secret["id"], 4) for a in await listed(admin))

            await until(site, counted)
            assert (len(inbox.mails), len(await listed(admin))) == (before, len(alerts))  # grouped: no second message

            done = f"{LIST}/{secret['id']}/acknowledge"
            assert (await reviewer.post(done, json={})).status_code == 403
            assert (await admin.post(done, json={"note": "asked them"})).json()["note"] == "asked them"
            assert (await admin.post(done, json={})).json()["code"] == "already_acknowledged"
            assert [a["id"] for a in await listed(admin, state="acknowledged")] == [secret["id"]]
            await reviewer.post(SIGN, json={"meaning": "review", "password": "not the right one"})

            async def anew() -> bool:
                return len(inbox.mails) > before

            await until(site, anew)  # what happens after the acknowledgement is told again
        finally:
            controller.stop()
        events = (await admin.get("/api/audit", params={"action": "security.alerted"})).json()["items"]
        assert len(events) == len(await listed(admin))
        assert "asked them" not in str((await admin.get("/api/audit", params={"action": "security.acknowledged"})).json())


@pytest.mark.rule("11.300")
async def test_a_flood_makes_few_messages_and_nobody_judges_themselves(
    seeded_urls: Urls, seeded: Seeded, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    limits = {"alert_mails_per_hour": 1}
    inbox, port = Inbox(), free_port()
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        async with watched(seeded_urls, tmp_path / "data", seeded, port, limits=limits) as site:
            admin = await site.client("admin")
            assert (await admin.post(SIGN, json={"meaning": "review", "password": PASSWORD})).json()["code"] == "may_not_sign"

            async def first() -> bool:
                return [a["mail"] for a in await listed(admin)] == ["sent"]

            await until(site, first)
            [alert] = await listed(admin)
            assert (await admin.post(f"{LIST}/{alert['id']}/acknowledge", json={})).json()["code"] == "own_alert"
            viewer = await site.client("viewer")
            await viewer.post(SIGN, json={"meaning": "review", "password": PASSWORD})

            async def second() -> bool:
                return len(await listed(admin)) == 2

            await until(site, second)
            await site.services.alerts.look()
            assert [a["mail"] for a in await listed(admin)] == ["waiting", "sent"]  # it goes with the next message
            assert len(inbox.mails) == 1
            with psycopg.connect(seeded_urls.superuser) as conn:
                jobs = conn.execute("SELECT args FROM procrastinate_jobs WHERE task_name = 'records.send_alert'").fetchall()
            assert all(set(args) == {"mail_id"} for (args,) in jobs)
    finally:
        controller.stop()


@pytest.mark.rule("11.300")
async def test_an_attack_nobody_looked_at_for_hours_is_told_with_its_own_time(
    seeded_urls: Urls, seeded: Seeded, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    """Fails when the server was away after an attack and its alert says when it was looked for, or there is none."""
    clock = ManualClock()
    begun = clock.now()
    async with running_site(seeded_urls, tmp_path / "data", seeded, clock=clock, limits={"alert_login_failures": 3}) as site:
        stranger = await site.anonymous()
        for n in range(5):
            await stranger.post("/api/auth/login", json={"email": "scientist@demo.lab", "password": f"guess {n}"})
        clock.advance(3 * 3_600)
        admin = await site.client("admin")

        async def told() -> bool:
            return bool(await listed(admin))

        await until(site, told)
        [alert] = await listed(admin)
        assert (alert["kind"], alert["count"] > 3) == ("login_failures", True)
        assert datetime.fromisoformat(alert["last_at"]) - begun < timedelta(hours=1)


def test_a_contact_that_cannot_be_reached_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIQUOT_SECURITY_CONTACT", CONTACT)
    with pytest.raises(SettingsError, match="SMTP_URL"):
        load_settings()


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (b'{"action":"signature.refused","actor":"%s","reason":"locked"}', "signing_secret"),
        (b'{"action":"approval.refused","actor":"%s","reason":"signature_refused:wrong_otp"}', "signing_secret"),
        (b'{"action":"policy.change_refused","actor":"%s","reason":"signature_refused:may_not_sign"}', "signing_right"),
        (b'{"action":"signature.refused","actor":"%s","reason":"session_required"}', "signing_right"),
        (b'{"action":"approval.refused","actor":"%s","reason":"session_required"}', None),
        (b'{"action":"signature.refused","actor":"%s","reason":"too_early"}', None),
        (b'{"action":"signature.refused","actor":"system","reason":"locked"}', None),
    ],
)
def test_what_is_a_reason(event: bytes, kind: str | None) -> None:
    found = happened(event.replace(b"%s", b"019a0000-0000-7000-8000-000000000001"))
    assert (None if found is None else found.kind) == kind


def _text(mail: Message) -> str:
    return str(mail.get_payload(decode=True).decode())  # type: ignore[union-attr]
