"""The job that indexes what was written before there was an index. Deferred by migration 0010; repeating it does nothing."""

import asyncio
import uuid

import structlog

from aliquot.chat.search.store import FindStore, IndexStore
from aliquot.platform.db import Database
from aliquot.platform.jobs import Jobs
from aliquot.platform.vault import Damaged, Erased, Vault

log = structlog.get_logger(__name__)

BACKFILL = "search.backfill"
_BATCH = 50
_NIL = uuid.UUID(int=0)


class Backfill:
    """Batches of one transaction each; another worker, or a restart, goes on where entries are missing."""

    def __init__(self, db: Database, vault: Vault, jobs: Jobs) -> None:
        self._db, self._vault = db, vault
        self._found, self._index = FindStore(), IndexStore(vault)
        jobs.register(BACKFILL, self.run)

    async def run(self) -> None:
        """Index all titles, then all messages."""
        for batch in (self._titles, self._messages):
            after: uuid.UUID | None = _NIL
            while after is not None:
                after = await batch(after)
                await asyncio.sleep(0)
        log.info("search_index_complete")

    async def _titles(self, after: uuid.UUID) -> uuid.UUID | None:
        async with self._db.begin() as tx:
            rows = await self._found.untitled(tx, after, _BATCH)
            for row in rows:
                if (text := self._text(row.title, f"conversation.title:{row.id}")) is not None:
                    await self._index.put_title(tx, row.id, row.owner_id, text)
        return rows[-1].id if rows else None

    async def _messages(self, after: uuid.UUID) -> uuid.UUID | None:
        async with self._db.begin() as tx:
            rows = await self._found.unindexed(tx, after, _BATCH)
            for row in rows:
                if (text := self._text(row.body, f"message.body:{row.id}")) is not None:
                    subject = self._vault.subject_of(row.body)
                    await self._index.put_message(tx, row.id, row.conversation_id, subject, text)
        return rows[-1].id if rows else None

    def _text(self, sealed: bytes, aad: str) -> str | None:
        try:
            return self._vault.open(sealed, aad=aad).decode()
        except (Erased, Damaged):
            return None
