"""A chat that names a dashboard sees only the dashboard's tools, with a language model and without one."""

from pathlib import Path

import pytest

from aliquot.platform.settings import DashboardManifest, SettingsError
from tests.chat.conftest import hear
from tests.conftest import Urls
from tests.peers.models_server import ModelServer, ToolCall, Turn
from tests.site import Seeded, Site, running_site

START = {"instrument": "PCR-02", "protocol": "PCR-STD-35"}


async def test_without_a_model_a_dashboard_hides_what_is_not_in_it(site: Site) -> None:
    scientist, viewer = await site.client("scientist"), await site.client("viewer")
    listed = (await scientist.get("/api/dashboards")).json()["items"]
    assert {d["id"]: "start_run" in d["available_tools"] for d in listed} == {"instrument-status": False, "run-control": True}
    seen = (await viewer.get("/api/dashboards/run-control")).json()
    assert set(seen) == {"id", "name", "description", "available_tools"}
    assert "start_run" not in seen["available_tools"]  # a viewer may not use it anywhere
    assert (await scientist.get("/api/dashboards/none")).status_code == 404

    async def asked(message: str, dashboard: str) -> dict[str, object]:
        answer = await scientist.post("/api/chat/completion", json={"message": message, "dashboard": dashboard})
        document: dict[str, object] = answer.json() | {"status_code": answer.status_code}
        return document

    assert "PCR-02" in str((await asked("Is PCR-02 ready?", "instrument-status"))["message"])
    assert "approval" not in await asked("Start PCR-STD-35 on PCR-02", "instrument-status")
    said = (await asked("Start PCR-STD-35 on PCR-02", "instrument-status"))["message"]
    assert "dashboard “instrument-status” does not offer this: start run" in str(said)
    assert "approval" in await asked("Start PCR-STD-35 on PCR-02", "run-control")
    assert (await asked("Is PCR-02 ready?", "none"))["code"] == "unknown_dashboard"
    session = await scientist.post("/chat", json={"message": "Is PCR-02 ready?", "dashboard": "none"})
    assert session.status_code == 422


async def test_a_model_is_offered_and_given_the_dashboards_tools_only(model_site: Site, model_server: ModelServer) -> None:
    call = ToolCall(name="start_run", arguments=START)
    model_server.script(Turn(tool_calls=(call,)), Turn(text="I cannot do that here."))
    scientist = await model_site.client("scientist")
    answer = await scientist.post("/api/chat/completion", json={"message": "Start it", "dashboard": "instrument-status"})
    assert answer.json()["message"]["content"].endswith("I cannot do that here.")
    offered = [tool["function"]["name"] for tool in model_server.requests[0].body["tools"]]
    assert sorted(offered) == ["get_instrument_status", "get_run", "get_run_history"]
    heard = await hear(scientist, answer.json()["run_id"])
    assert heard.of("tool_call_end")[0]["outcome"] == "failed"
    assert heard.of("approval_required") == []

    model_server.script(Turn(tool_calls=(call,)), Turn(text="Started."))
    asked = await scientist.post("/api/chat/completion", json={"message": "Start it", "dashboard": "run-control"})
    decided = await scientist.post(f"/api/approvals/{asked.json()['approval']['id']}/decision", json={"decision": "approve"})
    await hear(scientist, decided.json()["run_id"])  # the run that goes on is still in the dashboard
    assert len(model_server.requests[-1].body["tools"]) == 6


async def test_a_dashboard_with_a_tool_that_does_not_exist_refuses_the_start(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> None:
    manifest = DashboardManifest(id="or", name="OR", available_tools=("get_instrument_statuss",))
    with pytest.raises(SettingsError, match="get_instrument_statuss"):
        async with running_site(seeded_urls, tmp_path / "data", seeded, dashboards=(manifest,)):
            pass
