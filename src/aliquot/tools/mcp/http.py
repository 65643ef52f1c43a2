"""Routes of external MCP servers, for administrators."""

from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.platform.http import Body, Page
from aliquot.tools.mcp.servers import ExternalServer, RemoteServers

router = APIRouter(tags=["mcp"])

Reader = Annotated[Principal, Depends(require("policy.read"))]
Manager = Annotated[Principal, Depends(require("policy.manage", session=True))]


class RemoteServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    mcp: RemoteServers


def _services(request: Request) -> RemoteServices:
    services: RemoteServices = request.app.state.services
    return services


ServicesDep = Annotated[RemoteServices, Depends(_services)]


class AcceptBody(Body):
    """The hash of the definition that was looked at."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


@router.get("/api/admin/mcp")
async def external_servers(services: ServicesDep, _: Reader) -> Page[ExternalServer]:
    """The external servers of the settings, as this process sees them, with the definitions that are accepted and those that wait."""
    async with services.db.begin() as tx:
        return Page(items=await services.mcp.overview(tx), next=None)


@router.post("/api/admin/mcp/{server}/tools/{tool:path}/accept")
async def accept_definition(services: ServicesDep, person: Manager, server: str, tool: str, body: AcceptBody) -> Page[ExternalServer]:
    """Accept the changed definition of a tool; it can be used again from then on. 409 when the server offers another one by now."""
    async with services.db.begin() as tx:
        await services.mcp.accept(tx, person, server, tool, body.sha256)
    async with services.db.begin() as tx:
        return Page(items=await services.mcp.overview(tx), next=None)
