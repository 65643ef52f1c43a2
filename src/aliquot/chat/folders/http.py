"""Routes of folders."""

import uuid
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import AliasChoices, Field

from aliquot.chat.api import ChatApi
from aliquot.chat.contracts import Conversation
from aliquot.chat.folders.contracts import Arrangement, Change, DeletedFolder, Folder, FolderTree
from aliquot.chat.folders.errors import UnknownFolder
from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.ids import parse_id
from aliquot.platform.http import Body

router = APIRouter(tags=["chat"])

Person = Annotated[Principal, Depends(require("chat.use"))]
_Name = Annotated[str, Field(min_length=1, max_length=1_000)]
_Color = Annotated[str | None, Field(pattern="^#[0-9A-Fa-f]{6}$", validation_alias=AliasChoices("color", "colour"))]
_Icon = Annotated[str | None, Field(pattern="^[a-zA-Z0-9][a-zA-Z0-9_:-]{0,49}$")]
_Parent = Annotated[uuid.UUID | None, Field(validation_alias=AliasChoices("parent_folder_id", "parentFolderId", "parent_id", "parentId"))]


class NewFolder(Body):
    name: _Name
    parent_folder_id: _Parent = None
    color: _Color = None
    icon: _Icon = None


class ChangedFolder(Body):
    """What is left out stays as it is; null takes a colour or icon away, and moves to the top."""

    name: _Name = ""
    parent_folder_id: _Parent = None
    color: _Color = None
    icon: _Icon = None


class Place(Body):
    folder_id: uuid.UUID | None


class ChangedConversation(Body):
    """What is left out stays as it is."""

    title: str = ""
    archived: bool = False
    pinned: bool = False
    folder_id: uuid.UUID | None = None


class FolderServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    chat: ChatApi


async def _services(request: Request) -> FolderServices:
    services: FolderServices = request.app.state.services
    return services


ServicesDep = Annotated[FolderServices, Depends(_services)]


@router.get("/api/folders")
async def folders(services: ServicesDep, person: Person) -> FolderTree:
    """My folders as a tree, with counts."""
    async with services.db.begin() as tx:
        return await services.chat.folders.tree(tx, person)


@router.post("/api/folders", status_code=201)
async def create_folder(
    request: Request,
    response: Response,
    services: ServicesDep,
    person: Person,
    body: NewFolder,
    key: Annotated[str | None, Header(alias="Idempotency-Key", max_length=255)] = None,
) -> Folder:
    """Make a folder; a repeated Idempotency-Key gives the one made before."""
    async with services.db.begin() as tx:
        claim = await services.identity.idempotency.claim(
            tx, key=key, owner=person.id, route="POST /api/folders", body=await request.body()
        )
        if claim.resource_id is not None:
            response.status_code = 200
            return await services.chat.folders.get(tx, person, uuid.UUID(claim.resource_id))
        made = await services.chat.folders.create(tx, person, _change(body))
        await claim.fulfil(made.id)
        return made


@router.patch("/api/folders/{folder_id}")
async def change_folder(folder_id: str, services: ServicesDep, person: Person, body: ChangedFolder) -> Folder:
    """Rename, recolour or move a folder."""
    async with services.db.begin() as tx:
        return await services.chat.folders.change(tx, person, _id(folder_id), _change(body))


@router.delete("/api/folders/{folder_id}")
async def delete_folder(folder_id: str, services: ServicesDep, person: Person) -> DeletedFolder:
    """Delete a folder. Folders and conversations in it move to where it lay; the answer says how many."""
    async with services.db.begin() as tx:
        return await services.chat.folders.delete(tx, person, _id(folder_id))


@router.put("/api/conversations/{reference}/folder")
async def file_conversation(reference: str, services: ServicesDep, person: Person, body: Place) -> Conversation:
    """Lay a conversation into a folder; null takes it out."""
    async with services.db.begin() as tx:
        return await services.chat.folders.file(tx, person, reference, body.folder_id)


@router.patch("/api/conversations/{reference}")
async def change_conversation(reference: str, services: ServicesDep, person: Person, body: ChangedConversation) -> Conversation:
    """Rename, archive, pin, lay into a folder: what the body names."""
    wanted = Arrangement(fields=frozenset(body.model_fields_set), **body.model_dump())
    async with services.db.begin() as tx:
        return await services.chat.folders.arrange(tx, person, reference, wanted)


def _change(body: NewFolder | ChangedFolder) -> Change:
    return Change(
        fields=frozenset(body.model_fields_set), name=body.name, parent_folder_id=body.parent_folder_id,
        color=body.color.lower() if body.color else None, icon=body.icon,
    )  # fmt: skip


def _id(text: str) -> uuid.UUID:
    folder_id = parse_id(text)
    if folder_id is None:
        raise UnknownFolder
    return folder_id
