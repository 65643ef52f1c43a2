"""Methods of HTTP: HEAD is GET without the content, and a refusal names every method of the path (RFC 9110 §9.3.2, §10.2.1)."""

import asyncio

from aliquot.web.app import Head
from tests.chat.conftest import ask
from tests.site import Site, seeded, seeded_urls, site  # noqa: F401 - fixtures


async def test_head_answers_as_get_does_without_the_content(site: Site) -> None:  # noqa: F811
    scientist, nobody = await site.client("scientist"), await site.anonymous()
    for path, status in (("/api/health", 200), ("/api/instruments/PCR-02/status", 200), ("/api/instruments/NOPE-9/status", 404)):
        got, head = await scientist.get(path), await scientist.head(path)
        assert (head.status_code, head.content, got.status_code) == (status, b"", status), path
        assert set(head.headers) == set(got.headers), path
        assert head.headers["content-type"] == got.headers["content-type"]
    assert (await nobody.head("/api/instruments")).status_code == 401
    refused = await scientist.head("/api/chat/completion")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


async def test_head_of_a_stream_ends_with_its_head(site: Site) -> None:  # noqa: F811
    scientist = await site.client("scientist")
    run = (await ask(scientist, "Is PCR-02 ready?")).run_id
    head = await scientist.head(f"/api/runs/{run}/events")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")

    sent, ended = [], asyncio.Event()

    async def endless(scope: object, receive: object, send: object) -> None:
        assert scope["method"] == "GET"  # type: ignore[index]  # an ASGI scope
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
            while True:
                await send({"type": "http.response.body", "body": b"more", "more_body": True})  # type: ignore[operator]
                await asyncio.sleep(0)
        finally:
            ended.set()

    async def receive() -> dict[str, str]:
        return {"type": "http.request"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async with asyncio.timeout(5):
        await Head(endless)({"type": "http", "method": "HEAD"}, receive, send)  # type: ignore[arg-type]
    assert ended.is_set()
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert not sent[-1].get("body")


async def test_a_refused_method_is_told_all_that_the_path_takes(site: Site) -> None:  # noqa: F811
    scientist = await site.client("scientist")
    allowed = {
        "/api/conversations": "GET, HEAD, POST", "/api/conversations/one": "DELETE, GET, HEAD, PATCH", "/api/chat/completion": "POST",
    }  # fmt: skip
    for path, methods in allowed.items():
        answer = await scientist.request("PROPFIND", path)
        assert (answer.status_code, answer.json()["code"], answer.headers["Allow"]) == (405, "method_not_allowed", methods), path
    assert (await scientist.request("PROPFIND", "/api/nowhere")).status_code == 404
