"""Folders of a person: made, changed, moved, deleted. What lies in a deleted folder moves up; no conversation is ever lost."""

import uuid
from typing import Any, Literal

from aliquot.chat.contracts import Conversation
from aliquot.chat.conversations import Conversations
from aliquot.chat.folders.contracts import Arrangement, Change, DeletedFolder, Folder, FolderTree, Renamed
from aliquot.chat.folders.errors import FolderCycle, FolderNameTaken, FolderTooDeep, TooManyFolders, TooManyPinned, UnknownFolder
from aliquot.chat.folders.store import FolderStore, Held
from aliquot.chat.folders.tree import NAME_CHARS, children, clean_name, free_name, height, same_name_key, way_up
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import InvalidInput
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Limits

_Tree = dict[uuid.UUID, Held]


class Folders:
    """Every change locks the person's folders, so that what was checked still holds when it is written."""

    def __init__(self, store: FolderStore, conversations: Conversations, ledger: LedgerApi, clock: Clock, limits: Limits) -> None:
        self._store, self._conversations, self._ledger, self._clock, self._limits = store, conversations, ledger, clock, limits

    async def tree(self, tx: Transaction, principal: Principal) -> FolderTree:
        """All folders, sorted by name, each with what lies in it."""
        held = await self._store.all(tx, principal.id)
        counts = await self._store.counts(tx, principal.id)
        below = children(_parents(held))

        def level(parent_id: uuid.UUID | None) -> tuple[Folder, ...]:
            found = sorted((held[i] for i in below.get(parent_id, ())), key=lambda f: (same_name_key(f.name), f.id))
            return tuple(_view(f, counts.get(f.id, 0), level(f.id)) for f in found)

        return FolderTree(items=level(None), unfiled=counts.get(None, 0))

    async def get(self, tx: Transaction, principal: Principal, folder_id: uuid.UUID) -> Folder:
        """One folder, without those below it. Raises UnknownFolder."""
        held = await self._store.all(tx, principal.id)
        counts = await self._store.counts(tx, principal.id)
        return _view(_of(held, folder_id), counts.get(folder_id, 0))

    async def create(self, tx: Transaction, principal: Principal, change: Change) -> Folder:
        """Make a folder. Raises FolderNameTaken, FolderTooDeep, TooManyFolders, UnknownFolder (the parent)."""
        await self._store.lock(tx, principal.id)
        held = await self._store.all(tx, principal.id)
        if len(held) >= self._limits.folders_per_person:
            raise TooManyFolders(f"There are {len(held)} folders, the most there can be; delete one first.")
        name, parent_id = _name(change.name or ""), change.parent_folder_id
        self._check_place(held, None, parent_id)
        self._check_name(held, principal, None, parent_id, name)
        folder_id, at = new_id(), self._clock.now()
        values = {"parent_folder_id": parent_id, "color": change.color, "icon": change.icon, "created_at": at, "updated_at": at}
        await self._store.insert(tx, principal.id, folder_id, name, values)
        await self._audit(tx, principal, "folder.created", "folder", folder_id, {"name": name.encode()})
        return await self.get(tx, principal, folder_id)

    async def change(self, tx: Transaction, principal: Principal, folder_id: uuid.UUID, change: Change) -> Folder:
        """Rename, recolour, move. Raises FolderCycle and what `create` raises."""
        await self._store.lock(tx, principal.id)
        held = await self._store.all(tx, principal.id)
        before = _of(held, folder_id)
        name = _name(change.name or "") if "name" in change.fields else before.name
        parent_id = change.parent_folder_id if "parent_folder_id" in change.fields else before.parent_folder_id
        if parent_id != before.parent_folder_id:
            self._check_place(held, folder_id, parent_id)
        self._check_name(held, principal, folder_id, parent_id, name)
        values: dict[str, Any] = {field: getattr(change, field) for field in ("color", "icon") if field in change.fields}
        values |= {"parent_folder_id": parent_id, "updated_at": self._clock.now()}
        await self._store.update(tx, principal.id, folder_id, name if name != before.name else None, values)
        content = {"name": name.encode()} if name != before.name else {}
        await self._audit(tx, principal, "folder.changed", "folder", folder_id, content)
        return await self.get(tx, principal, folder_id)

    async def delete(self, tx: Transaction, principal: Principal, folder_id: uuid.UUID) -> DeletedFolder:
        """Delete the folder only: what lies in it moves to where the folder lay. A folder whose name is taken there gets a number."""
        await self._store.lock(tx, principal.id)
        held = await self._store.all(tx, principal.id)
        parent_id, at = _of(held, folder_id).parent_folder_id, self._clock.now()
        taken = {f.name_hash for f in held.values() if f.parent_folder_id == parent_id and f.id != folder_id}
        moving = sorted((f for f in held.values() if f.parent_folder_id == folder_id), key=lambda f: f.id)
        renamed = []
        for child in moving:
            name = free_name(child.name, taken, lambda text: self._store.name_hash(principal.id, text))
            taken.add(self._store.name_hash(principal.id, name))
            if name != child.name:
                renamed.append(Renamed(id=child.id, name=name))
            values = {"parent_folder_id": parent_id, "updated_at": at}
            await self._store.update(tx, principal.id, child.id, name if name != child.name else None, values)
        conversations = await self._store.delete(tx, principal.id, folder_id, parent_id)
        await self._audit(tx, principal, "folder.deleted", "folder", folder_id)
        return DeletedFolder(
            id=folder_id, parent_folder_id=parent_id, moved_folders=len(moving), moved_conversations=conversations, renamed=tuple(renamed)
        )

    async def file(self, tx: Transaction, principal: Principal, reference: str, folder_id: uuid.UUID | None) -> Conversation:
        """Lay a conversation of one's own into a folder; None takes it out. Raises UnknownConversation, UnknownFolder."""
        await self._store.lock(tx, principal.id)
        row = await self._conversations.find(tx, principal, reference)
        if folder_id is not None and folder_id not in await self._store.all(tx, principal.id):
            raise UnknownFolder
        if row.folder_id != folder_id:
            await self._store.put_conversation(tx, row.id, folder_id)
            await self._audit(tx, principal, "conversation.filed", "conversation", row.id)
        return await self._conversations.get(tx, principal, reference)

    async def arrange(self, tx: Transaction, principal: Principal, reference: str, wanted: Arrangement) -> Conversation:
        """Rename, file, archive and pin one's own conversation, all of it or nothing. Raises TooManyPinned and what `file` raises."""
        if "title" in wanted.fields:
            await self._conversations.rename(tx, principal, reference, wanted.title or "")
        if "folder_id" in wanted.fields:
            await self.file(tx, principal, reference, wanted.folder_id)
        if wanted.fields & {"archived", "pinned"}:
            await self._store.lock(tx, principal.id)
            row = await self._conversations.find(tx, principal, reference)
            if "archived" in wanted.fields:
                await self._mark(tx, principal, row, "archived", on=bool(wanted.archived))
            if "pinned" in wanted.fields:
                await self._mark(tx, principal, row, "pinned", on=bool(wanted.pinned))
        return await self._conversations.get(tx, principal, reference)

    async def _mark(self, tx: Transaction, principal: Principal, row: Any, what: Literal["archived", "pinned"], *, on: bool) -> None:
        if (getattr(row, f"{what}_at") is not None) == on:
            return
        if what == "pinned" and on and await self._store.pinned(tx, principal.id) >= self._limits.pinned_conversations:
            raise TooManyPinned(f"At most {self._limits.pinned_conversations} conversations can be pinned; unpin one first.")
        await self._store.mark(tx, row.id, f"{what}_at", self._clock.now() if on else None)
        await self._audit(tx, principal, f"conversation.{'' if on else 'un'}{what}", "conversation", row.id)

    # --- what must hold

    def _check_place(self, held: _Tree, folder_id: uuid.UUID | None, parent_id: uuid.UUID | None) -> None:
        if parent_id is not None and parent_id not in held:
            raise UnknownFolder("The folder to put it in does not exist, or it is not yours.")
        way = way_up(_parents(held), parent_id)
        if folder_id in way:
            raise FolderCycle
        levels = 1 if folder_id is None else height(_parents(held), folder_id)
        if len(way) + levels > self._limits.folder_depth:
            raise FolderTooDeep(f"Folders can be nested {self._limits.folder_depth} deep.")

    def _check_name(self, held: _Tree, principal: Principal, folder_id: uuid.UUID | None, parent_id: uuid.UUID | None, name: str) -> None:
        hashed = self._store.name_hash(principal.id, name)
        if any(f.name_hash == hashed for f in held.values() if f.parent_folder_id == parent_id and f.id != folder_id):
            raise FolderNameTaken

    async def _audit(
        self, tx: Transaction, principal: Principal, action: str, kind: str, record: uuid.UUID, content: dict[str, bytes] | None = None
    ) -> None:
        await self._ledger.append(
            tx,
            AuditEvent(
                action=action, actor=str(principal.id), via=principal.via, ip=principal.ip, content=content or {}, subject=principal.id,
                record=RecordRef(type=kind, id=str(record)),
            ),
        )  # fmt: skip


def _parents(held: _Tree) -> dict[uuid.UUID, uuid.UUID | None]:
    return {f.id: f.parent_folder_id for f in held.values()}


def _of(held: _Tree, folder_id: uuid.UUID) -> Held:
    if folder_id not in held:
        raise UnknownFolder
    return held[folder_id]


def _name(text: str) -> str:
    name = clean_name(text)
    if name is None:
        raise InvalidInput(f"name: 1 to {NAME_CHARS} characters, none of them a control character")
    return name


def _view(held: Held, conversations: int, below: tuple[Folder, ...] = ()) -> Folder:
    return Folder(
        id=held.id, parent_folder_id=held.parent_folder_id, name=held.name, color=held.color, icon=held.icon,
        conversations=conversations, created_at=held.created_at, updated_at=held.updated_at, children=below,
    )  # fmt: skip
