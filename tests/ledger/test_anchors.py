# ruff: noqa: F811 - fixtures are parameters
"""Witnesses, time stamps, rotation and heartbeats against a running server, judged by the verifier."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.ledger.errors import RotationUnderWay
from aliquot.ledger.jobs import witnesses_of
from aliquot.ledger.outside import Outside
from aliquot.platform.settings import Settings, SettingsError
from aliquot_verify.cli import main
from aliquot_verify.cosign import Cosigner
from aliquot_verify.note import parse_key
from aliquot_verify.verify import Known, as_json, verify
from aliquot_verify.witness import Refused, Witness
from aliquot_verify.witness_http import server
from tests.conftest import Urls
from tests.ledger.tsa import Authority, serving
from tests.site import Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures

COSIGNER = Cosigner("witness.example/lab", b"\x07" * 32)


@contextmanager
def witness_at(cosigner: Cosigner, vkeys: list[str], state: Path) -> Iterator[str]:
    running = server(Witness(cosigner, [parse_key(vkey) for vkey in vkeys], state, time.time), "127.0.0.1", 0)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}"
    finally:
        running.shutdown()
        running.server_close()


async def grow(site: Site, count: int = 1) -> int:
    """Append events and wait until they are in the log; its size."""
    services = site.services
    async with services.db.begin() as tx:
        event = AuditEvent(action="run.started", actor="system", record=RecordRef(type="run", id="r"))
        ids = await services.ledger.append_many(tx, [event] * count)
    for _ in range(500):
        async with services.db.begin() as tx:
            if await services.ledger.is_final(tx, ids[-1]):
                return (await services.ledger.status(tx)).size
        await asyncio.sleep(0.01)
    raise AssertionError("not provable within 5 s")


async def exported(site: Site, target: Path) -> Path:
    answer = await (await site.client("reviewer")).post("/api/audit/export")
    assert answer.status_code == 200
    await asyncio.to_thread(target.write_bytes, answer.content)
    return target


def verified(bundle: Path, *, strict: bool = False, **known: Any) -> tuple[int, dict[str, Any]]:
    report = verify(bundle, Known(**known), strict=strict)
    return report.exit_code, as_json(report)


async def test_a_witness_cosigns_what_continues_and_refuses_the_rest(
    seeded: Seeded,
    seeded_urls: Urls,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key, state = tmp_path / "key", tmp_path / "state"
    assert main(["witness", "keygen", "witness.example/one", "--key", str(key)]) == 0
    witness = capsys.readouterr().out.strip()
    async with running_site(seeded_urls, tmp_path / "data", seeded, witnesses=(witness,)) as site:
        log, admin = site.services.log_keys.current().vkey, await site.client("admin")
        (tmp_path / "token").write_text(admin.headers["Authorization"].removeprefix("Bearer "))
        command = ["witness", "run", "--key", str(key), "--state", str(state), "--log", log]
        online = [*command, "--url", site.url, "--token-file", str(tmp_path / "token")]
        first = await grow(site, 3)
        assert await asyncio.to_thread(main, online) == 0
        size = await grow(site, 300)
        old = (await admin.get("/tlog/checkpoint")).content
        for _ in range(2):  # the second time nothing is new: it cosigns anew, the server keeps one
            assert await asyncio.to_thread(main, online) == 0
        seen = (await admin.get("/api/audit/anchors")).json()["items"]
        assert [(a["by"], a["kind"]) for a in seen] == [("witness.example/one", "witness")]
        assert seen[0]["size"] >= size > first
        assert "— witness.example/one " in (await admin.get("/tlog/checkpoint")).text
        bundle = await exported(site, tmp_path / "b.zip")
        code, report = verified(bundle, vkey=log, witnesses=[witness], strict=True)
        assert (code, report["findings"], report["notices"]) == (0, [], [])
        assert report["witnesses"]["witness.example/one"]["size"] >= size
        code, report = verified(bundle, witnesses=[COSIGNER.key.vkey])
        assert (code, report["findings"][0]["fault"]) == (32, "unwitnessed")
        assert await asyncio.to_thread(main, [*command, "--bundle", str(bundle)]) == 0

        # Roll-back and fork, by the same key: an older checkpoint, and another log of the same size.
        memory = Witness(COSIGNER, [parse_key(log)], tmp_path / "other", time.time)
        memory.add((await admin.get("/tlog/checkpoint")).content, lambda *_: None)
        with pytest.raises(Refused, match="ROLLED BACK"):
            memory.add(old, lambda *_: None)
        forged = site.services.log_keys.current().sign(f"{log.partition('+')[0]}\n{size + 9_999}\n{'A' * 43}=\n").encode()
        answer = await admin.post("/api/audit/cosignatures", content=forged + COSIGNER.sign("x\n", 1).encode())
        assert (answer.status_code, answer.json()["code"]) == (409, "log_forked")
        for body in (b"", b"nonsense", b"\xff", old):
            assert (await admin.post("/api/audit/cosignatures", content=body)).status_code == 422
        assert (await admin.get("/tlog/consistency?old=5&new=99999999")).status_code == 422
        capsys.readouterr()
        state.write_text("{")
        assert await asyncio.to_thread(main, online) == 10
        assert "does not sign" in capsys.readouterr().err


async def test_a_forked_server_is_named_by_the_witness(
    seeded: Seeded,
    seeded_urls: Urls,
    tmp_path: Path,
) -> None:
    """The log asks a C2SP witness itself. One that remembers another log of that key refuses, and the server says so."""
    async with running_site(seeded_urls, tmp_path / "data", seeded) as site:
        key = site.services.log_keys.current()
        await grow(site, 4)
        with witness_at(COSIGNER, [key.vkey], tmp_path / "state") as url:
            given = Settings(data_dir=tmp_path, witnesses=(f"{COSIGNER.key.vkey} {url}",))
            site.services.ledger.anchors.witnesses = tuple(witnesses_of(given))
            outside = Outside(site.services.db, site.services.ledger, tsa_url=None, stamp_seconds=1)
            await outside.ask_witnesses()
            await grow(site, 300)
            await outside.ask_witnesses()
            async with site.services.db.begin() as tx:
                seen = await site.services.ledger.anchors.newest(tx)
                size = (await site.services.ledger.status(tx)).size
            assert [(a.by, a.size) for a in seen] == [(COSIGNER.name, size)]
            state = json.loads((tmp_path / "state").read_text())
            state["logs"][key.origin]["root"] = "A" * 43 + "="
            (tmp_path / "state").write_text(json.dumps(state))
            await grow(site)
            assert outside.refused == {}
            await outside.ask_witnesses()
            assert "FORKED" in outside.refused[COSIGNER.name]
            alerts = (await (await site.client("reviewer")).get("/api/audit?action=log.witness_refused")).json()["items"]
            assert [alert["reason"] for alert in alerts] == [f"witness:{COSIGNER.name} status:422"]
    with pytest.raises(SettingsError, match="witness"):
        witnesses_of(Settings(data_dir=tmp_path, witnesses=(key.vkey,)))


@pytest.mark.rule("ALCOA contemporaneous")
async def test_checkpoints_are_time_stamped_and_the_stamps_checked(
    seeded: Seeded,
    seeded_urls: Urls,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    authority, other = Authority(), Authority()
    (tmp_path / "root.pem").write_bytes(authority.pem)
    (tmp_path / "other.pem").write_bytes(other.pem)
    async with running_site(seeded_urls, tmp_path / "data", seeded) as site:
        await grow(site, 5)
        with serving(authority) as url:
            outside = Outside(site.services.db, site.services.ledger, tsa_url=url, stamp_seconds=0)
            authority.fail = True
            await outside.stamp()  # the authority is broken: nothing is lost, nothing waits
            authority.fail = False
            await outside.stamp()
            await outside.stamp()  # the same size is stamped once
            assert authority.requests == 2
            await grow(site, 5)
            await outside.stamp()
        await Outside(site.services.db, site.services.ledger, tsa_url="http://127.0.0.1:1/", stamp_seconds=0).stamp()
        bundle, vkey = await exported(site, tmp_path / "b.zip"), site.services.log_keys.current().vkey
    code, report = verified(bundle, vkey=vkey, tsa=tmp_path / "root.pem")
    assert (code, report["timestamps"]["held"], report["timestamps"]["checked"]) == (0, 2, 2)
    code, report = verified(bundle, vkey=vkey)
    assert (code, report["timestamps"]) == (0, {"held": 2, "checked": None, "newest": None})
    assert main([str(bundle)]) == 0
    assert "2 time stamps NOT CHECKED" in capsys.readouterr().out
    code, report = verified(bundle, tsa=tmp_path / "other.pem")
    assert (code, {f["fault"] for f in report["findings"]}) == (33, {"bad_timestamp"})


@pytest.mark.rule("11.30", "ALCOA enduring")
async def test_the_key_is_rotated_and_both_keys_lead_to_the_log(
    seeded: Seeded,
    seeded_urls: Urls,
    tmp_path: Path,
) -> None:
    async with running_site(seeded_urls, tmp_path / "data", seeded) as site:
        services, admin = site.services, await site.client("admin")
        await grow(site, 5)
        (tmp_path / "anchor").write_bytes((await admin.get("/tlog/checkpoint")).content)
        vkeys = [services.log_keys.current().vkey]
        for _ in range(2):
            async with services.db.begin() as tx:
                await services.ledger.rotate_key(tx, services.log_keys)
                with pytest.raises(RotationUnderWay):
                    await services.ledger.rotate_key(tx, services.log_keys)
            await grow(site, 300)
            vkeys.append(services.log_keys.current().vkey)
        assert len(set(vkeys)) == 3
        assert services.log_keys.staged() is None
        assert services.sequencer.refused is None
        document = (await admin.get("/tlog/keys.json")).json()
        assert (document["vkeys"], len(document["rotations"])) == (vkeys, 2)
        bundle = await exported(site, tmp_path / "b.zip")
    for vkey in vkeys:
        code, report = verified(bundle, vkey=vkey, anchor=tmp_path / "anchor")
        assert (code, report["findings"], report["vkey"]) == (0, [], vkeys[-1])


@pytest.mark.rule("11.10(e)", "ALCOA contemporaneous")
async def test_a_log_beats_when_it_is_silent(site: Site) -> None:
    services = site.services

    async def beats() -> list[str]:
        async with services.db.begin() as tx:
            found = (await (await site.client("reviewer")).get("/api/audit?action=log.heartbeat")).json()["items"]
            await services.ledger.beat(tx, 300)
        return [item["reason"] for item in found]

    assert await beats() == await beats() == ["every:300s"]
    async with services.db.begin() as tx:
        assert not await services.ledger.beat(tx, 3_600)
        assert await services.ledger.beat(tx, 0)
