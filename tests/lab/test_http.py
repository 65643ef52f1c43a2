"""Reading the laboratory over HTTP, on a whole served Aliquot with the demo laboratory."""

import re
from typing import Any

import httpx2

from tests.site import Site, seeded, seeded_urls, site  # noqa: F401 - fixtures

PATHS = (
    "/api/instruments", "/api/instruments/PCR-02", "/api/instruments/PCR-02/status", "/api/instruments/PCR-02/runs",
    "/api/runs-of-instruments", "/api/runs-of-instruments/R-2026-0001", "/api/protocols",
)  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def get(client: httpx2.AsyncClient, path: str, status: int = 200, **params: Any) -> Any:
    answer = await client.get(path, params=params)
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


async def test_the_reading_routes(site: Site) -> None:  # noqa: F811
    """One test for all of them: a served site is dear."""
    viewer, anonymous = await site.client("viewer"), await site.anonymous()
    await _reading(viewer, anonymous)
    await _pages_and_bad_questions(viewer)


async def _reading(viewer: httpx2.AsyncClient, anonymous: httpx2.AsyncClient) -> None:
    for path in PATHS:
        assert (await get(anonymous, path, 401))["code"] == "unauthenticated"
    page = await get(viewer, "/api/instruments")
    assert [(item["code"], item["state"]) for item in page["items"]] == [
        ("CENT-04", "error"), ("HPLC-03", "running"), ("PCR-02", "idle"), ("SEQ-01", "idle"),
    ]  # fmt: skip
    assert page["next"] is None
    hplc = page["items"][1]
    assert hplc["run"]["instrument"] == "HPLC-03"
    assert TIME.fullmatch(hplc["state_since"])
    assert TIME.fullmatch(hplc["run"]["ends_at"])
    assert (await get(viewer, "/api/instruments/hplc"))["code"] == "HPLC-03"
    status = await get(viewer, "/api/instruments/CENT-04/status")
    assert (status["state"], status["error_code"], status["run"]) == ("error", "rotor_imbalance", None)
    runs = await get(viewer, "/api/instruments/SEQ-01/runs")
    assert {run["state"] for run in runs["items"]} == {"done", "failed"}
    failed = await get(viewer, "/api/runs-of-instruments", state="failed")
    run = await get(viewer, f"/api/runs-of-instruments/{failed['items'][0]['code'].lower()}")
    assert (run["state"], run["error_code"]) == ("failed", "lid_heater_timeout")
    done = await get(viewer, f"/api/runs-of-instruments/{runs['items'][0]['code']}")
    assert {"name": "yield", "unit": "Gb"}.items() <= {k: done["results"][3][k] for k in ("name", "unit")}.items()
    protocols = await get(viewer, "/api/protocols", instrument="PCR-02", query="standard")
    assert [protocol["code"] for protocol in protocols["items"]] == ["PCR-STD-35"]
    assert protocols["items"][0]["text"]["steps"][0]["readings"][0] == {"name": "block", "value": 95, "unit": "°C", "set_by": None}


async def _pages_and_bad_questions(viewer: httpx2.AsyncClient) -> None:
    for path, key in (("/api/instruments", "code"), ("/api/runs-of-instruments", "code"), ("/api/protocols", "code")):
        whole = [item[key] for item in (await get(viewer, path, limit=200))["items"]]
        seen, after = [], None
        while True:
            page = await get(viewer, path, limit=2, **({"after": after} if after else {}))
            seen += [item[key] for item in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert seen == whole
        for bad in ({"limit": 0}, {"limit": 201}, {"limit": "x"}, {"after": "%%"}, {"after": "x" * 301}):
            await get(viewer, path, 422, **bad)
    assert (await get(viewer, "/api/instruments/PCR-99", 404))["code"] == "unknown_instrument"
    assert (await get(viewer, "/api/instruments/%00", 404))["code"] == "unknown_instrument"
    assert (await get(viewer, f"/api/instruments/{'x' * 81}", 422))["code"] == "invalid_input"
    assert (await get(viewer, "/api/runs-of-instruments/R-2026-7777", 404))["code"] == "unknown_instrument_run"
    assert (await get(viewer, "/api/instruments/PCR-02/runs", 422, state="asleep"))["code"] == "invalid_input"
    assert (await get(viewer, "/api/protocols", query="\x00'%_\\"))["items"] == []
    assert (await get(viewer, "/api/protocols", 404, instrument="'; --"))["code"] == "unknown_instrument"
