"""Which language models there are, and which one is the site-wide default."""

from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from aliquot.identity.contracts import Principal
from aliquot.identity.http import PrincipalDep, require
from aliquot.models.api import ModelsApi
from aliquot.models.contracts import ModelInfo
from aliquot.models.errors import ModelNotConfigured
from aliquot.platform.db import Database
from aliquot.platform.http import Body, Page

router = APIRouter(prefix="/api/llm", tags=["models"])


class _Services(Protocol):
    """What these routes need of `app.state.services`."""

    models: ModelsApi
    db: Database


class SwitchBody(Body):
    model: str = Field(min_length=1, max_length=80)


def _services(request: Request) -> _Services:
    services: _Services = request.app.state.services
    return services


@router.get("/models")
async def models(request: Request, principal: PrincipalDep) -> Page[ModelInfo]:
    """The declared models, in order of fallback."""
    return Page(items=await _services(request).models.list_models())


@router.get("/provider")
async def provider(request: Request, principal: PrincipalDep) -> ModelInfo:
    """The site-wide default. 503 `model_not_configured` when the models file declares none."""
    current = await _services(request).models.provider()
    if current is None:
        raise ModelNotConfigured
    return current


@router.post("/provider/switch")
async def switch(request: Request, body: SwitchBody, principal: Annotated[Principal, Depends(require("models.switch"))]) -> ModelInfo:
    """Make a declared model the site-wide default."""
    services = _services(request)
    async with services.db.begin() as tx:
        return await services.models.switch(tx, principal, body.model)
