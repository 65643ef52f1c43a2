"""Going through a table's rows by their UUID, page by page."""

import uuid
from collections.abc import Sequence

from sqlalchemy import Table, select

from aliquot.platform.db import Transaction


class RowsById:
    """The ids of `table`, whose primary key is `id`, as the comparison of rows with the log asks for them (`RestatedRecords`)."""

    table: Table

    async def ids(self, tx: Transaction, after: str | None, limit: int) -> list[str]:
        query = select(self.table.c.id).order_by(self.table.c.id).limit(limit)
        if after is not None:
            query = query.where(self.table.c.id > uuid.UUID(after))
        return [str(row.id) for row in await tx.rows(query)]

    async def existing(self, tx: Transaction, ids: Sequence[str]) -> set[str]:
        query = select(self.table.c.id).where(self.table.c.id.in_([uuid.UUID(i) for i in ids]))
        return {str(row.id) for row in await tx.rows(query)}
