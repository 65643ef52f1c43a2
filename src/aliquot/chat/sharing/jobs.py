"""The job that decides the class of messages written before there was a rule. Deferred by migration 0009; repeating it does nothing."""

import asyncio
import uuid

from aliquot.chat.sharing.store import ShareStore
from aliquot.chat.store import ChatStore, class_of
from aliquot.platform.db import Database
from aliquot.platform.jobs import Jobs
from aliquot.platform.vault import Damaged

CLASSIFY = "chat.classify_messages"
_BATCH = 100


class Classification:
    """Batches of one transaction each. What cannot be read, or has files with it, stays undecided."""

    def __init__(self, db: Database, chats: ChatStore, store: ShareStore, jobs: Jobs) -> None:
        self._db, self._chats, self._store = db, chats, store
        jobs.register(CLASSIFY, self.run)

    async def run(self) -> None:
        after: uuid.UUID | None = uuid.UUID(int=0)
        while after is not None:
            after = await self._batch(after)
            await asyncio.sleep(0)

    async def _batch(self, after: uuid.UUID) -> uuid.UUID | None:
        async with self._db.begin() as tx:
            rows = await self._store.undecided(tx, after, _BATCH)
            for row in rows:
                try:
                    message = self._chats.open_message(row)
                except Damaged:
                    continue
                if not message.erased and not message.metadata.get("attachments"):
                    await self._store.decide(tx, row.id, class_of(message.content, {"citations": message.citations}))
        return rows[-1].id if rows else None
