"""A site, and the official SDK as its client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp_types as wire
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.chat.conftest import model_host, model_server, model_site  # noqa: F401 - fixtures
from tests.conftest import PATIENCE
from tests.site import TLS, Site, seeded, seeded_urls, site  # noqa: F401 - fixtures


@asynccontextmanager
async def client_of(at: Site, token: str, mode: str = "auto", **options: Any) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"Authorization": token}, timeout=PATIENCE, verify=TLS) as http,
        Client(streamable_http_client(f"{at.url}/mcp", http_client=http), mode=mode, **options) as client,
    ):
        yield client


async def api_key(person: httpx2.AsyncClient) -> str:
    made = await person.post("/api/auth/keys", json={"name": "agent"})
    assert made.status_code in (200, 201), made.text
    return f"Bearer {made.json()['secret']}"


def data(result: wire.CallToolResult) -> dict[str, Any]:
    found: dict[str, Any] = result.structured_content
    return found
