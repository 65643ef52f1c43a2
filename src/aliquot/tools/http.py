"""GET /api/chat/tools. Calling a tool (POST) is a run, so it is chat's."""

from fastapi import APIRouter, Request

from aliquot.identity.http import PrincipalDep
from aliquot.tools.api import ToolsApi
from aliquot.tools.contracts import ToolInfo

router = APIRouter(tags=["tools"])


@router.get("/api/chat/tools")
async def list_tools(request: Request, principal: PrincipalDep) -> list[ToolInfo]:
    """The tools this person may use."""
    tools: ToolsApi = request.app.state.services.tools
    return tools.for_person(principal)
