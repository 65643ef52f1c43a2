"""Routes of the message tree."""

import uuid
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import Field

from aliquot.chat.api import ChatApi
from aliquot.chat.contracts import Conversation, Regenerate
from aliquot.chat.errors import UnknownMessage
from aliquot.chat.paging import cursor, next_cursor
from aliquot.chat.tree.contracts import MessageTree
from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.ids import parse_id
from aliquot.platform.http import Body

router = APIRouter(tags=["chat"])

Person = Annotated[Principal, Depends(require("chat.use"))]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]


class Head(Body):
    message_id: uuid.UUID


class Again(Body):
    model: str | None = Field(None, max_length=200)


class TreeServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    chat: ChatApi


async def _services(request: Request) -> TreeServices:
    services: TreeServices = request.app.state.services
    return services


ServicesDep = Annotated[TreeServices, Depends(_services)]


@router.get("/api/conversations/{reference}/tree")
async def message_tree(
    reference: str, services: ServicesDep, person: Person, limit: Annotated[int, Query(ge=1, le=2_000)] = 1_000, after: str | None = None
) -> MessageTree:
    """The tree without contents, oldest first: parents come before their children."""
    async with services.db.begin() as tx:
        head_id, nodes = await services.chat.tree.nodes(tx, person, reference, limit, cursor(after))
    following = next_cursor(nodes[-1].created_at, nodes[-1].id) if len(nodes) == limit else None
    return MessageTree(head_id=head_id, items=nodes, next=following)


@router.put("/api/conversations/{reference}/head")
async def show_branch(reference: str, services: ServicesDep, person: Person, body: Head) -> Conversation:
    """Show the branch through a message: from the root to the newest descendant of that message."""
    async with services.db.begin() as tx:
        return await services.chat.tree.show(tx, person, reference, body.message_id)


@router.post("/api/messages/{message_id}/regenerate", status_code=202)
async def regenerate(
    message_id: str, services: ServicesDep, person: Person, body: Again | None = None, key: IdempotencyKey = None
) -> dict[str, str]:
    """Answer the question behind this message again; the new answer stands beside the others. Watch it at `/api/runs/{run_id}/events`."""
    known = parse_id(message_id)
    if known is None:
        raise UnknownMessage
    request = Regenerate(principal=person, message_id=known, model=body.model if body else None, idempotency_key=key)
    async with services.db.begin() as tx:
        started = await services.chat.runs.regenerate(tx, request)
    return {"run_id": str(started.run_id), "conversation_id": str(started.conversation_id)}


@router.post("/api/conversations/{reference}/restore")
async def restore_conversation(reference: str, services: ServicesDep, person: Person) -> Conversation:
    """Take the deletion of a conversation back, within `restore_days`. One that is not deleted is answered as it is."""
    async with services.db.begin() as tx:
        return await services.chat.conversations.restore(tx, person, reference)
