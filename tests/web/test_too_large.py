"""A body over the limit is refused as a problem document, and on `/v1` in OpenAI's form."""

from tests.site import Site, seeded, seeded_urls, site  # noqa: F401 - fixtures


async def test_a_body_over_the_limit_is_a_problem_document(site: Site) -> None:  # noqa: F811
    scientist = await site.client("scientist")
    large = b'{"message": "' + b"x" * site.services.settings.limits.body_bytes + b'"}'
    answer = await scientist.post("/api/chat/completion", content=large, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert answer.json()["code"] == "too_large"
    chunked = await scientist.post("/api/chat/completion", content=_pieces(large), headers={"content-type": "application/json"})
    assert (chunked.status_code, chunked.json()["code"]) == (413, "too_large")
    openai = await scientist.post("/v1/chat/completions", content=large, headers={"content-type": "application/json"})
    assert openai.status_code == 413
    assert openai.json()["error"]["code"] == "too_large"


async def _pieces(data: bytes):  # type: ignore[no-untyped-def]
    for at in range(0, len(data), 65_536):
        yield data[at : at + 65_536]
