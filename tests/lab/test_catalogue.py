"""An administrator fills, changes and retires what the laboratory has, over HTTP; what runs refer to stays."""

import asyncio
from typing import Any

import httpx2

from tests.chat.conftest import ask
from tests.site import Site, seeded, seeded_urls, site  # noqa: F401 - fixtures

NEW: dict[str, Any] = {"code": "PCR-77", "name": "Spare cycler", "kind": "thermocycler", "location": "Room 9", "settings": {"speed": 1000}}
STEP: dict[str, Any] = {"name": "Hold", "seconds": 60, "where": "thermocycler", "readings": [{"name": "block", "value": 37, "unit": "°C"}]}
PROTOCOL: dict[str, Any] = {"code": "HOLD-37", "name": "Hold", "summary": "Holds 37 °C.", "kinds": ["thermocycler"], "steps": [STEP]}


BAD_CHANGES: tuple[dict[str, Any], ...] = (
    {"code": "X-1"}, {"kind": "hplc"}, {"name": ""}, {"name": "a\nb"}, {"settings": {"speed": "fast"}}, {"driver": "x" * 99},
    {"settings": {"speed": True}}, {"settings": {"Speed!": 1}}, {"last_service_on": "soon"}, {"version": "1"}, {"driver": "none"},
    {"name": "PCR\u200b-02"}, {"last_service_on": "9999-01-01"}, {"location": "Room \u202e9"}, {"name": "a\u0085b"},
    {"settings": {"port": "a\u2066b"}},
)  # fmt: skip
BAD_PROTOCOLS: tuple[dict[str, Any], ...] = (
    {"steps": []}, {"kinds": []}, {"kinds": ["toaster"]}, {"code": "hold 37"}, {"steps": [STEP | {"where": "moon"}]}, {"extra": 1},
    {"steps": [STEP | {"seconds": "60"}]}, {"steps": [STEP | {"seconds": 10**9}]}, {"steps": [STEP] * 201}, {"summary": "\u0000"},
    {"steps": [STEP | {"where": "hplc"}]}, {"max_samples": 0}, {"version": 0}, {"parameters": [{"name": "x"}]},
    {"summary": "Holds \u202e73 °C."}, {"steps": [STEP | {"name": "Hold\u2060"}]},
)  # fmt: skip


async def send(client: httpx2.AsyncClient, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
    answer = await client.request(method, f"/api{path}", json=body, headers=headers)
    assert answer.status_code == status, (method, path, answer.text)
    return answer.json()


async def start(client: httpx2.AsyncClient, instrument: str, protocol: str) -> str:
    """The answer of the dry run."""
    body = {"name": "start_run", "arguments": {"instrument": instrument, "protocol": protocol}, "dry_run": True}
    return (await client.post("/api/chat/tools", json=body)).text


async def test_instruments(site: Site) -> None:  # noqa: F811
    admin, scientist = await site.client("admin"), await site.client("scientist")
    for client in (scientist, await site.client("reviewer")):
        for method, path in (("POST", ""), ("PATCH", "/PCR-02"), ("POST", "/PCR-02/retire"), ("POST", "/PCR-02/reinstate")):
            await send(client, method, f"/instruments{path}", NEW if not path else {}, 403)
    assert "There is no instrument PCR-77 here." in (await ask(scientist, "Is PCR-77 ready?")).text
    made = await send(admin, "POST", "/instruments", NEW, 201, **{"Idempotency-Key": "k1"})
    assert (made["state"], made["version"], made["settings"], made["driver"]) == ("idle", 1, {"speed": 1000}, "simulated")
    assert await send(admin, "POST", "/instruments", NEW, 201, **{"Idempotency-Key": "k1"}) == made
    other = await send(admin, "POST", "/instruments", NEW | {"name": "x"}, 422, **{"Idempotency-Key": "k1"})
    assert other["code"] == "idempotency_mismatch"
    assert (await send(admin, "POST", "/instruments", NEW, 409))["code"] == "instrument_exists"
    # The router's words follow at once.
    assert (await ask(scientist, "Is PCR-77 ready?")).text.startswith("Yes, PCR-77 is idle and ready for a run.")

    changes = [{"name": f"Cycler {n}", "version": 1} for n in range(4)]
    answers = await asyncio.gather(*(admin.patch("/api/instruments/PCR-77", json=change) for change in changes))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]  # one of them was first
    same = await send(admin, "PATCH", "/instruments/pcr-77", {"location": "Room 9"})
    assert same["version"] == 2  # nothing changed
    for bad in BAD_CHANGES:
        await send(admin, "PATCH", "/instruments/PCR-77", bad, 422)
    await send(admin, "PATCH", "/instruments/thermocycler", {"name": "x"}, 404)  # never by a kind
    busy = await send(admin, "PATCH", "/instruments/HPLC-03", {"settings": {"speed": 2}}, 409)
    assert busy["code"] == "instrument_busy"
    assert (await send(admin, "POST", "/instruments/HPLC-03/retire", None, 409))["code"] == "instrument_busy"

    gone = await send(admin, "POST", "/instruments/SEQ-01/retire")
    assert (gone["state"], gone["error_code"], gone["retired_at"] is not None) == ("offline", "retired", True)
    assert await send(admin, "POST", "/instruments/SEQ-01/retire") == gone
    assert "SEQ-01" not in [item["code"] for item in (await send(scientist, "GET", "/instruments"))["items"]]
    assert "SEQ-01" in [item["code"] for item in (await send(scientist, "GET", "/instruments?retired=true"))["items"]]
    assert "SEQ-01 is retired." in await start(scientist, "SEQ-01", "SEQ-PE150")
    assert (await ask(scientist, "What ran on SEQ-01?")).text.startswith("3 runs on SEQ-01")
    back = await send(admin, "POST", "/instruments/SEQ-01/reinstate")
    assert (back["state"], back["retired_at"]) == ("idle", None)
    async with site.services.db.begin() as tx:
        events = [e async for e in _actions(site, tx)]
    assert events == ["instrument.added PCR-77", "instrument.changed PCR-77", "instrument.retired SEQ-01", "instrument.reinstated SEQ-01"]


async def _actions(site: Site, tx: Any) -> Any:  # noqa: F811
    admin = await site.client("admin")
    me = (await admin.get("/api/auth/me")).json()["id"]
    found = (await admin.get("/api/audit", params={"actor": me, "limit": 200})).json()["items"]
    for event in sorted(found, key=lambda event: str(event["at"])):
        if event["action"].startswith(("instrument.", "protocol.")):
            yield f"{event['action']} {event['record']['id']}"


async def test_protocols(site: Site) -> None:  # noqa: F811
    admin, scientist = await site.client("admin"), await site.client("scientist")
    await send(scientist, "POST", "/protocols", PROTOCOL, 403)
    made = await send(admin, "POST", "/protocols", PROTOCOL, 201, **{"Idempotency-Key": "p"})
    assert (made["code"], made["version"]) == ("HOLD-37", 1)
    assert await send(admin, "POST", "/protocols", PROTOCOL, 201, **{"Idempotency-Key": "p"}) == made
    longer = PROTOCOL | {"steps": [STEP | {"seconds": 120}]}
    answers = await asyncio.gather(*(admin.post("/api/protocols", json=longer | {"version": 2}) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    assert (await send(admin, "POST", "/protocols", longer | {"version": 9}, 409))["code"] == "protocol_exists"
    assert (await send(scientist, "GET", "/protocols/hold-37"))["text"]["steps"][0]["seconds"] == 120
    assert (await send(scientist, "GET", "/protocols/HOLD-37?version=1"))["text"]["steps"][0]["seconds"] == 60
    assert (await send(scientist, "GET", "/protocols/HOLD-37?version=3", None, 404))["code"] == "unknown_protocol"
    for bad in BAD_PROTOCOLS:
        await send(admin, "POST", "/protocols", PROTOCOL | bad, 422)
    assert "Start HOLD-37 version 2 on PCR-02" in await start(scientist, "PCR-02", "HOLD-37")
    assert (await ask(scientist, "Can I start HOLD-37 on PCR-02?")).text.startswith("Yes, as things stand: PCR-02 is idle")
    gone = await send(admin, "POST", "/protocols/HOLD-37/retire")
    assert gone["retired_at"] is not None
    assert await send(admin, "POST", "/protocols/HOLD-37/retire") == gone
    assert (await send(admin, "POST", "/protocols", PROTOCOL, 409))["code"] == "retired"
    assert "HOLD-37 is retired." in await start(scientist, "PCR-02", "HOLD-37")
    assert "HOLD-37" not in [item["code"] for item in (await send(scientist, "GET", "/protocols"))["items"]]
    assert (await send(admin, "POST", "/protocols/HOLD-37/reinstate"))["retired_at"] is None
    assert (await send(admin, "POST", "/protocols/NONE-1/retire", None, 404))["code"] == "unknown_protocol"
