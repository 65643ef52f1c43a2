"""All SQL of the review queue."""

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert

from aliquot.platform.db import Transaction
from aliquot.records.review.tables import review_flag, review_item

_i, _f = review_item.c, review_flag.c
_TRIES = 3


async def open_item(tx: Transaction, values: dict[str, Any]) -> Row[Any]:
    """The open item of a message, made from `values` unless there is one; locked, so that it is not decided meanwhile."""
    for _ in range(_TRIES):
        mine = (_i.message_id == values["message_id"], _i.state == "open")
        found = await tx.row(select(review_item).where(*mine).with_for_update())
        if found is not None:
            return found
        made = pg_insert(review_item).values(values)
        await tx.execute(made.on_conflict_do_nothing(index_elements=[_i.message_id], index_where=_i.state == "open"))
    raise LookupError("an item that is decided while another is made, three times")


async def item(tx: Transaction, item_id: uuid.UUID, *, lock: bool = False) -> Row[Any] | None:
    statement = select(review_item).where(_i.id == item_id)
    return await tx.row(statement.with_for_update() if lock else statement)


async def items_of_message(tx: Transaction, message_id: uuid.UUID) -> Sequence[Row[Any]]:
    """Newest first; bounded."""
    return await tx.rows(select(review_item).where(_i.message_id == message_id).order_by(_i.id.desc()).limit(50))


async def page(
    tx: Transaction, *, state: str | None, reason: str | None, limit: int, after: uuid.UUID | None
) -> Sequence[Row[Any]]:  # fmt: skip
    """In the order they came: who waits longest comes first."""
    statement = select(review_item).order_by(_i.id).limit(limit)
    if state is not None:
        statement = statement.where(_i.state == state)
    if reason is not None:
        statement = statement.where(_i.id.in_(select(_f.item_id).where(_f.reason == reason)))
    return await tx.rows(statement if after is None else statement.where(_i.id > after))


async def flags(tx: Transaction, item_ids: Collection[uuid.UUID]) -> Sequence[Row[Any]]:
    return await tx.rows(select(review_flag).where(_f.item_id.in_(item_ids)).order_by(_f.id))


async def flag(tx: Transaction, flag_id: uuid.UUID) -> Row[Any] | None:
    return await tx.row(select(review_flag).where(_f.id == flag_id))


async def insert_flag(tx: Transaction, values: dict[str, Any]) -> bool:
    """False when this person, or this check for this reason, has flagged the item before."""
    statement = pg_insert(review_flag).values(values).on_conflict_do_nothing().returning(_f.id)
    return (await tx.execute(statement)).first() is not None


async def decide(tx: Transaction, item_id: uuid.UUID, values: dict[str, Any]) -> Row[Any]:
    return (await tx.execute(update(review_item).where(_i.id == item_id).values(values).returning(review_item))).one()
