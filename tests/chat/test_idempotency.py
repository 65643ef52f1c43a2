"""A POST repeated with its Idempotency-Key acts once, also where it decides, cancels or only makes something."""

from typing import Any

import httpx2

from tests.chat.conftest import ask, hear
from tests.peers.models_server import ModelServer, Turn
from tests.site import Site


async def twice(client: httpx2.AsyncClient, path: str, body: dict[str, Any] | None = None, key: str = "k") -> httpx2.Response:
    """The second answer, which is like the first."""
    first = await client.post(path, json=body, headers={"Idempotency-Key": key})
    second = await client.post(path, json=body, headers={"Idempotency-Key": key})
    assert (first.status_code, second.status_code) == (first.status_code, first.status_code)
    assert first.is_success, first.text
    for name in ("id", "run_id", "conversation_id"):
        assert first.json().get(name) == second.json().get(name)
    return second


async def test_deciding_withdrawing_and_making_happen_once(site: Site) -> None:
    scientist, reviewer = await site.client("scientist"), await site.client("reviewer")
    made = await twice(scientist, "/api/conversations", {"title": "Buffers"})
    items = (await scientist.get("/api/conversations")).json()["items"]
    assert [item["id"] for item in items] == [made.json()["id"]]
    other = await scientist.post("/api/conversations", json={"title": "Salts"}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert (await twice(reviewer, "/api/conversations", {"title": "Buffers"})).json()["id"] != made.json()["id"]  # a key is one person's

    asked = [(await ask(scientist, "Start PCR-STD-35 on PCR-02")).of("approval_required")[0]["approval_id"] for _ in range(2)]
    assert (await twice(scientist, f"/api/approvals/{asked[0]}/withdraw")).json()["state"] == "withdrawn"
    decided = await twice(scientist, f"/api/approvals/{asked[1]}/decision", {"decision": "approve"})
    assert (await hear(scientist, decided.json()["run_id"])).of("done")[0]["state"] == "done"
    reversal = await scientist.post(
        f"/api/approvals/{asked[1]}/decision", json={"decision": "reject"}, headers={"Idempotency-Key": "k"}
    )  # fmt: skip
    assert (reversal.status_code, reversal.json()["code"]) == (422, "idempotency_mismatch")
    without = await scientist.post(f"/api/approvals/{asked[1]}/decision", json={"decision": "approve"})
    assert (without.status_code, without.json()["code"]) == (409, "already_decided")


async def test_cancelling_again_after_the_end_is_no_conflict(model_site: Site, model_server: ModelServer) -> None:
    model_server.script(Turn(text="never heard", ttft=60))
    scientist = await model_site.client("scientist")
    run = (await scientist.post("/api/conversations/c/messages", json={"content": "Hello"})).json()["run_id"]
    headers = {"Idempotency-Key": "k"}
    assert (await scientist.post(f"/api/runs/{run}/cancel", headers=headers)).status_code == 202
    await hear(scientist, run)
    again = await scientist.post(f"/api/runs/{run}/cancel", headers=headers)
    assert (again.status_code, again.json()["state"]) == (202, "cancelled")
    assert (await scientist.post(f"/api/runs/{run}/cancel")).status_code == 409
