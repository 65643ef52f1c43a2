"""The list of conversations, and search in it: one route, because one field at the top of the list does both."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal, Protocol

from fastapi import APIRouter, Depends, Query, Request

from aliquot.chat.api import ChatApi
from aliquot.chat.search import contracts
from aliquot.chat.search.contracts import Filter, Listed, Place
from aliquot.identity.contracts import Principal
from aliquot.identity.http import IdentityServices, require
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput
from aliquot.platform.http import Page

router = APIRouter(tags=["chat"])

Person = Annotated[Principal, Depends(require("chat.use"))]
_OFFSET_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPage(Page[Listed]):
    """A page of the list or of a search. `truncated`: not everything that may match was looked at; a further word narrows it."""

    truncated: bool = False


class SearchServices(IdentityServices, Protocol):
    """What these routes need of `app.state.services`."""

    chat: ChatApi


async def _services(request: Request) -> SearchServices:
    services: SearchServices = request.app.state.services
    return services


@router.get("/api/conversations")
async def list_conversations(
    services: Annotated[SearchServices, Depends(_services)],
    person: Person,
    q: str | None = None,
    folder: Annotated[str | None, Query(max_length=36)] = None,
    archived: Literal["true", "false", "all"] | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(max_length=100)] = None,
) -> FoundPage:
    """My conversations, pinned ones first, then the most recently used; with `q` what matches it, best first.

    `folder`: an id, or `none` for those in no folder. `archived`: `true`, `false` (what a list shows otherwise) or `all` (where a
    search looks otherwise).
    """
    sought = q is not None and q.strip() != ""
    wanted = _filter(folder, archived or ("all" if sought else "false"))
    if not sought:
        async with services.db.begin() as tx:
            return _page(await services.chat.search.recent(tx, person, wanted, limit, _place(after)))
    offset = _offset(after)
    async with services.chat.search.turns.of(person.id):
        async with services.db.begin() as tx:
            candidates = await services.chat.search.candidates(tx, person, q or "", wanted)
        return _page(await services.chat.search.ranked(candidates, limit, offset))


def _filter(folder: str | None, archived: str) -> Filter:
    folder_id = parse_id(folder) if folder is not None else None
    if folder is not None and folder != "none" and folder_id is None:
        raise InvalidInput("folder: the id of a folder, or none")
    return Filter(archived=None if archived == "all" else archived == "true", folder_id=folder_id, unfiled=folder == "none")


def _page(page: contracts.Page) -> FoundPage:
    place = page.next
    if isinstance(place, Place):
        return FoundPage(items=page.items, next=f"{int(place.pinned)}_{place.updated_at.timestamp():.6f}_{place.id}")
    return FoundPage(items=page.items, next=None if place is None else str(place), truncated=page.truncated)


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    pinned, _, rest = cursor.partition("_")
    at, _, item = rest.partition("_")
    item_id = parse_id(item)
    try:
        if item_id is not None and pinned in ("0", "1"):
            return Place(pinned=pinned == "1", updated_at=datetime.fromtimestamp(float(at), UTC), id=item_id)
    except (ValueError, OverflowError, OSError):
        pass
    raise InvalidInput("the cursor is not one of ours")


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 5 and int(cursor) <= _OFFSET_MAX):
        raise InvalidInput("the cursor is not one of ours")
    return int(cursor)
