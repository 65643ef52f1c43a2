"""What a room reads of a run: the message before it, its events, the answer after it."""

import uuid
from typing import NamedTuple

from aliquot.chat.contracts import StoredEvent
from aliquot.chat.live import frames
from aliquot.chat.live.store import LiveStore, Mark
from aliquot.chat.run_store import RunStore
from aliquot.chat.store import ChatStore
from aliquot.identity.api import IdentityApi
from aliquot.kernel.problems import NotFound
from aliquot.platform.db import Database
from aliquot.platform.vault import Vault

PAGE = 500


class Closing(NamedTuple):
    """The end of a run: its number, the frame with it, the frame without it."""

    seq: int
    frame: str
    alone: str


class RunReader:
    """Reads in transactions of its own. The caller has checked that whoever hears of it may."""

    def __init__(self, db: Database, vault: Vault, identity: IdentityApi, store: LiveStore) -> None:
        self._db, self._identity, self._store = db, identity, store
        self._chats, self._runs = ChatStore(vault), RunStore(vault)

    async def opening(self, run_id: uuid.UUID) -> str | None:
        """The `message` frame of the run; None when no message of a person started it (tool call, continuation, regenerate)."""
        async with self._db.begin() as tx:
            row = await self._store.run(tx, run_id)
            if row is None or row.kind != "chat" or row.user_message_id is None or await self._store.answers_again(tx, row):
                return None
            asked = await self._chats.get_message(tx, row.conversation_id, row.user_message_id)
            if asked is None:
                return None
            try:
                name = (await self._identity.person(tx, row.person_id)).name
            except NotFound:
                name = ""
        return frames.message(run_id, asked, {"id": str(row.person_id), "name": name})

    async def closing(self, run_id: uuid.UUID) -> Closing | None:
        """The `message_complete` frame of a run that ended; None when nothing was answered."""
        async with self._db.begin() as tx:
            row, mark = await self._store.run(tx, run_id), await self._store.mark(tx, run_id)
            if row is None or mark is None or not mark.finished:
                return None
            answer = await self._chats.get_message(tx, row.conversation_id, row.message_id)
        if answer is None:
            return None
        seq = mark.last_seq + 1
        return Closing(seq, frames.message_complete(run_id, seq, answer), frames.message_complete_alone(answer))

    async def page(self, run_id: uuid.UUID, after: int) -> tuple[list[StoredEvent], Mark | None]:
        """The next events after `after`, and how far the run was before they were read."""
        async with self._db.begin() as tx:
            mark = await self._store.mark(tx, run_id)
            return await self._runs.events(tx, run_id, after, PAGE), mark
