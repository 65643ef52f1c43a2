"""GET /api/chat/tools: what this person may use."""

from tests.site import Seeded, Site, running_site, seeded, seeded_urls, site  # noqa: F401 - fixtures


async def test_people_see_the_tools_they_may_use(site: Site) -> None:  # noqa: F811 - the fixture
    scientist, viewer, nobody = await site.client("scientist"), await site.client("viewer"), await site.anonymous()
    listed = {tool["name"]: tool for tool in (await scientist.get("/api/chat/tools")).json()}
    assert {"get_instrument_status", "get_run_history", "get_protocols", "start_run", "stop_run"} <= set(listed)
    start = listed["start_run"]
    assert (start["effect"], start["permissions"]) == ("instrument", ["lab.operate"])
    assert start["parameters"]["additionalProperties"] is False
    assert start["description"]
    assert set(start) == {"name", "description", "parameters", "effect", "permissions"}
    reading = {tool["name"] for tool in (await viewer.get("/api/chat/tools")).json()}
    assert reading == {name for name, tool in listed.items() if tool["permissions"] == ["lab.read"]}
    assert (await nobody.get("/api/chat/tools")).status_code == 401
