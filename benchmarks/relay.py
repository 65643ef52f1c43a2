"""The floor: a bare relay that authenticates nobody, stores nothing and passes bytes on. `uvicorn benchmarks.relay:app`."""

import os
from collections.abc import AsyncIterator

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

client = httpx2.AsyncClient(base_url=os.environ.get("UPSTREAM", ""), timeout=120, limits=httpx2.Limits(max_connections=None))


async def chat(request: Request) -> StreamingResponse:
    """Pass one request on."""
    upstream = client.build_request(
        "POST", "/v1/chat/completions", content=await request.body(), headers={"content-type": "application/json"}
    )
    answer = await client.send(upstream, stream=True)

    async def body() -> AsyncIterator[bytes]:
        async for piece in answer.aiter_raw():
            yield piece

    return StreamingResponse(body(), media_type="text/event-stream")


app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
