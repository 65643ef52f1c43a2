"""SQL and sealing of folders, and of where a conversation lies."""

import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from aliquot.chat.folders.tables import folder
from aliquot.chat.folders.tree import same_name_key
from aliquot.chat.search.store import LISTED_KINDS
from aliquot.chat.tables import conversation
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Vault


@dataclass(frozen=True, slots=True)
class Held:
    """A folder as stored, its name opened."""

    id: uuid.UUID
    parent_folder_id: uuid.UUID | None
    name: str
    name_hash: bytes
    color: str | None
    icon: str | None
    created_at: datetime
    updated_at: datetime


class FolderStore:
    """Folders of one owner at a time; somebody else's are never seen."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def lock(self, tx: Transaction, owner_id: uuid.UUID) -> None:
        """Changes of one person's folders happen one after the other: checks of names, depth and cycles hold until the commit."""
        await tx.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"folders:{owner_id}", 0))))

    async def all(self, tx: Transaction, owner_id: uuid.UUID) -> dict[uuid.UUID, Held]:
        rows = await tx.rows(select(folder).where(folder.c.owner_id == owner_id))
        return {row.id: self._held(row) for row in rows}

    async def counts(self, tx: Transaction, owner_id: uuid.UUID) -> dict[uuid.UUID | None, int]:
        """Live conversations that are not archived, per folder."""
        c = conversation.c
        listed = (c.owner_id == owner_id, c.kind.in_(LISTED_KINDS), c.deleted_at.is_(None), c.archived_at.is_(None))
        rows = await tx.rows(select(c.folder_id, func.count().label("n")).where(*listed).group_by(c.folder_id))
        return {row.folder_id: row.n for row in rows}

    async def insert(self, tx: Transaction, owner_id: uuid.UUID, folder_id: uuid.UUID, name: str, values: Mapping[str, Any]) -> None:
        await tx.execute(insert(folder).values(id=folder_id, owner_id=owner_id, **self._named(owner_id, folder_id, name), **values))

    async def update(self, tx: Transaction, owner_id: uuid.UUID, folder_id: uuid.UUID, name: str | None, values: Mapping[str, Any]) -> None:
        named = self._named(owner_id, folder_id, name) if name is not None else {}
        await tx.execute(update(folder).where(folder.c.id == folder_id, folder.c.owner_id == owner_id).values(**named, **values))

    async def delete(self, tx: Transaction, owner_id: uuid.UUID, folder_id: uuid.UUID, parent_id: uuid.UUID | None) -> int:
        """Take the folder away; its conversations, also deleted ones that may come back, move to the parent. How many live ones."""
        moved = await tx.rows(
            update(conversation)
            .where(conversation.c.folder_id == folder_id)
            .values(folder_id=parent_id)
            .returning(conversation.c.deleted_at)
        )
        await tx.execute(delete(folder).where(folder.c.id == folder_id, folder.c.owner_id == owner_id))
        return sum(row.deleted_at is None for row in moved)

    async def put_conversation(self, tx: Transaction, conversation_id: uuid.UUID, folder_id: uuid.UUID | None) -> None:
        await tx.execute(update(conversation).where(conversation.c.id == conversation_id).values(folder_id=folder_id))

    async def mark(self, tx: Transaction, conversation_id: uuid.UUID, column: str, at: datetime | None) -> None:
        """Set or clear `archived_at` or `pinned_at`."""
        await tx.execute(update(conversation).where(conversation.c.id == conversation_id).values({column: at}))

    async def pinned(self, tx: Transaction, owner_id: uuid.UUID) -> int:
        c = conversation.c
        pinned = (c.owner_id == owner_id, c.pinned_at.is_not(None), c.deleted_at.is_(None))
        return int(await tx.scalar(select(func.count()).where(*pinned)))

    def name_hash(self, owner_id: uuid.UUID, name: str) -> bytes:
        """Equal for names that are the same to a person, under the owner's key."""
        return hmac.digest(self._vault.derive_for(owner_id, "chat.folder_name"), same_name_key(name).encode(), "sha256")

    def _named(self, owner_id: uuid.UUID, folder_id: uuid.UUID, name: str) -> dict[str, bytes]:
        sealed = self._vault.seal(owner_id, name.encode(), aad=f"folder.name:{folder_id}")
        return {"name": sealed, "name_hash": self.name_hash(owner_id, name)}

    def _held(self, row: Row[Any]) -> Held:
        name = self._vault.open(row.name, aad=f"folder.name:{row.id}").decode()
        return Held(row.id, row.parent_folder_id, name, row.name_hash, row.color, row.icon, row.created_at, row.updated_at)
