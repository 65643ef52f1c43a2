"""Whatever a client sends is answered with a refusal that names the field, never with a 500."""

import asyncio

import pytest

from tests.chat.conftest import ask
from tests.conftest import PATIENCE
from tests.site import Site

_HALF = b'"\\ud800"'  # half a surrogate pair: JSON can write it, UTF-8 cannot


def _tool(arguments: bytes) -> bytes:
    return b'{"name":"get_instrument_status","arguments":{"instrument":%s}}' % arguments


_BAD = [
    ("POST", "/api/chat/completion", b'{"message":"hi","model":"a\\u0000b"}'),
    ("POST", "/chat", b'{"message":"hi","session_id":"a\\u0000b"}'),
    ("POST", "/chat", b'{"message":"hi","session_id":"%s"}' % (b"x" * 100_000)),
    ("POST", "/v1/chat/completions", b'{"model":"a\\u0000","messages":[{"role":"user","content":"hi"}]}'),
    ("POST", "/v1/chat/completions", b'{"model":"x","messages":[{"role":"user","content":%s},{"role":"user","content":"hi"}]}' % _HALF),
    ("POST", "/api/chat/tools", _tool(b"NaN")),
    ("POST", "/api/chat/tools", _tool(b"1e400")),
    ("POST", "/api/chat/tools", _tool(b"9007199254740993")),
    ("POST", "/api/chat/tools", _tool(_HALF)),
    ("POST", "/api/chat/tools", b'{"name":"get_protocols","arguments":{%s:1}}' % _HALF),
    ("PATCH", "/api/conversations/bench-1", b'{"title":%s}' % _HALF),
    ("POST", "/api/conversations/bench-1/messages", b'{"content":%s}' % _HALF),
    ("POST", "/api/conversations/bench-1/messages", b'{"content":"hi","model":"a\\u0000"}'),
    ("POST", "/api/instruments/PCR-02/runs", b'{"protocol":%s}' % _HALF),
    ("POST", "/api/runs-of-instruments/R-2026-0001/stop", b'{"reason":%s}' % _HALF),
]


async def test_values_that_cannot_be_stored_are_refused(site: Site) -> None:
    scientist = await site.client("scientist")
    await scientist.post("/api/conversations", json={"client_id": "bench-1"})
    for method, path, body in _BAD:
        answer = await scientist.request(method, path, content=body, headers={"Content-Type": "application/json"})
        expected = 404 if path.startswith("/v1/") and b"u0000" in body else 422  # a name that no model has
        assert answer.status_code == expected, (path, body[:80], answer.status_code, answer.text)


async def test_a_malformed_request_to_v1_is_the_callers_fault(site: Site) -> None:
    scientist = await site.client("scientist")
    body = b'{"model":"x","messages":[{"role":"user","content":' + b"[" * 5_000 + b"]" * 5_000 + b"}]}"
    answer = await scientist.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("wanted", ["2147483648", "9223372036854775808", "99999999999999999999"])
async def test_an_event_number_no_run_can_have_is_refused(site: Site, wanted: str) -> None:
    scientist = await site.client("scientist")
    heard = await ask(scientist, "Is PCR-02 ready?")
    path = f"/api/runs/{heard.run_id}/events"
    for accept in ("text/event-stream", "application/json"):
        assert (await scientist.get(path, headers={"Last-Event-ID": wanted, "Accept": accept})).status_code == 422
        assert (await scientist.get(path, params={"after": wanted}, headers={"Accept": accept})).status_code == 422


async def test_a_stream_resumed_behind_the_end_of_a_run_ends(site: Site) -> None:
    scientist = await site.client("scientist")
    heard = await ask(scientist, "Is PCR-02 ready?")
    for after in (len(heard.events), 2_000_000_000):
        async with asyncio.timeout(PATIENCE):
            answer = await scientist.get(f"/api/runs/{heard.run_id}/events", headers={"Last-Event-ID": str(after)})
        assert answer.status_code == 200
        assert "event:" not in answer.text


async def test_a_request_sent_twice_at_once_under_one_key_makes_one_run(site: Site) -> None:
    """What a client does whose first try seems to hang: both must get the same run, not one of them a refusal."""
    scientist = await site.client("scientist")
    for path, body in (
        ("/api/chat/completion", {"message": "Is PCR-02 ready?"}),
        ("/api/chat/tools", {"name": "start_run", "arguments": {"instrument": "PCR-02", "protocol": "PCR-STD-35"}}),
    ):
        answers = await asyncio.gather(*[scientist.post(path, json=body, headers={"Idempotency-Key": "one"}) for _ in range(5)])
        assert {answer.status_code for answer in answers} <= {200, 202}, [answer.text for answer in answers]
        assert len({answer.json()["run_id"] for answer in answers}) == 1
