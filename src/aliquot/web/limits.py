"""`GET /api/admin/limits`: every limit by the name of its setting, with its value."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from aliquot.bootstrap import Services
from aliquot.identity.contracts import Principal
from aliquot.identity.http import require

router = APIRouter(tags=["admin"])


@router.get("/api/admin/limits")
async def limits(request: Request, _: Annotated[Principal, Depends(require("admin.stats"))]) -> dict[str, Any]:
    """The limits in force. Change one by its environment variable or in `[limits]` of aliquot.toml, and start again."""
    services: Services = request.app.state.services
    values = services.settings.limits.model_dump(mode="json")
    return {"limits": [{"name": name, "setting": f"ALIQUOT_LIMIT_{name.upper()}", "value": value} for name, value in values.items()]}
