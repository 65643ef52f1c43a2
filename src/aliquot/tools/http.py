"""Which tools and dashboards there are. Calling a tool (POST) is a run, so it is chat's."""

from fastapi import APIRouter, Request

from aliquot.identity.contracts import Principal
from aliquot.identity.http import PrincipalDep
from aliquot.platform.http import Page
from aliquot.platform.settings import DashboardManifest
from aliquot.tools.api import ToolsApi
from aliquot.tools.contracts import ToolInfo

router = APIRouter(tags=["tools"])


@router.get("/api/chat/tools")
async def list_tools(request: Request, principal: PrincipalDep) -> list[ToolInfo]:
    """The tools this person may use."""
    tools: ToolsApi = request.app.state.services.tools
    return tools.for_person(principal)


@router.get("/api/dashboards")
async def list_dashboards(request: Request, principal: PrincipalDep) -> Page[DashboardManifest]:
    """The dashboards, each with those of its tools that this person may use."""
    tools: ToolsApi = request.app.state.services.tools
    return Page(items=[_for_person(tools, principal, manifest) for manifest in tools.dashboards.all()], next=None)


@router.get("/api/dashboards/{dashboard_id}")
async def get_dashboard(request: Request, principal: PrincipalDep, dashboard_id: str) -> DashboardManifest:
    """One dashboard."""
    tools: ToolsApi = request.app.state.services.tools
    return _for_person(tools, principal, tools.dashboards.get(dashboard_id))


def _for_person(tools: ToolsApi, principal: Principal, manifest: DashboardManifest) -> DashboardManifest:
    usable = tuple(info.name for info in tools.for_person(principal, manifest.available_tools))
    return manifest.model_copy(update={"available_tools": usable})
