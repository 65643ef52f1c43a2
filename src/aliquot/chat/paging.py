"""Cursors of lists in the order of time: the last item's time and id."""

import uuid
from datetime import UTC, datetime

from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import InvalidInput

Cursor = tuple[datetime, uuid.UUID]


def next_cursor(at: datetime, item_id: uuid.UUID) -> str:
    return f"{at.timestamp():.6f}_{item_id}"


def cursor(text: str | None) -> Cursor | None:
    """What `next_cursor` made. Raises InvalidInput."""
    if text is None:
        return None
    at, _, item = text.partition("_")
    item_id = parse_id(item)
    try:
        if item_id is not None:
            return datetime.fromtimestamp(float(at), UTC), item_id
    except (ValueError, OverflowError, OSError):
        pass
    raise InvalidInput("the cursor is not one of ours")
