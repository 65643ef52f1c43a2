"""SQL and sealing of conversations and messages. Runs are in `run_store`."""

import asyncio
import hmac
import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Integer, Row, Select, Uuid, and_, bindparam, case, exists, literal, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from aliquot.chat.contracts import Conversation, ConversationKind, Message
from aliquot.chat.search.store import LISTED_KINDS, IndexStore
from aliquot.chat.tables import conversation, message
from aliquot.guard.api import highest, patient_class
from aliquot.guard.contracts import PatientClass
from aliquot.kernel.ids import new_id
from aliquot.platform.db import Transaction
from aliquot.platform.sql import insert_text, row_of
from aliquot.platform.vault import Erased, Vault

_LIVE = and_(conversation.c.deleted_at.is_(None))
_HISTORY_MAX = 200
_IMPORT_SLICE = 20


# Whoever moved the head meanwhile (another question, another branch) is not disturbed by an answer.
_MOVE_HEAD = text(
    "UPDATE conversation SET last_message_at = :at, updated_at = greatest(updated_at, :at), "
    "head_id = CASE WHEN :asked OR head_id IS NOT DISTINCT FROM CAST(:parent AS uuid) THEN CAST(:message AS uuid) ELSE head_id END "
    "WHERE id = :id"
)


def _branch_statement() -> Select[Any]:
    """From `:head` up to the root, at most `:depth` messages; built once, because building costs as much as running it."""
    head = message.c.id == bindparam("head", type_=Uuid)
    chain = select(message, literal(1).label("n")).where(head, message.c.conversation_id == bindparam("conversation", type_=Uuid))
    up = chain.cte("chain", recursive=True)
    parent = message.alias("parent")
    next_up = select(parent, (up.c.n + 1).label("n")).where(parent.c.id == up.c.parent_id, up.c.n < bindparam("depth", type_=Integer))
    up = up.union_all(next_up)
    return select(up).order_by(up.c.n.desc())


_BRANCH = _branch_statement()


class ChatStore:
    """Conversations and messages: rows in, opened contracts out."""

    def __init__(self, vault: Vault) -> None:
        self._vault, self._index = vault, IndexStore(vault)
        self._client_id_key = vault.derive("chat.client_id")

    # --- conversations

    async def create_conversation(
        self,
        tx: Transaction,
        owner_id: uuid.UUID,
        kind: ConversationKind,
        client_id: str | None,
        title: str | None,
        at: datetime,
        *,
        by_person: bool = False,
    ) -> tuple[Row[Any], bool]:
        """A new conversation and True, or the one that already has this client id (two first messages at once make one)."""
        conversation_id = new_id()
        values = {
            "id": conversation_id, "owner_id": owner_id, "kind": kind, "created_at": at, "updated_at": at,
            "client_id_hash": self._client_hash(owner_id, client_id) if client_id is not None else None,
            "client_id": self._seal(owner_id, client_id, f"conversation.client_id:{conversation_id}"),
            "title": self._seal(owner_id, title, f"conversation.title:{conversation_id}"), "title_by_person": by_person,
        }  # fmt: skip
        made: Row[Any] | None
        if client_id is None:  # nothing it could conflict with, so nothing to wait for
            await tx.send(insert_text("conversation", tuple(values)), values)
            made = row_of(conversation, {**values, "permissions_carried": []})
        else:
            made = await tx.row(insert_text("conversation", tuple(values), "ON CONFLICT DO NOTHING RETURNING *"), values)
        if made is not None:
            if title is not None and kind in LISTED_KINDS:
                await self._index.put_title(tx, conversation_id, owner_id, title)
            return made, True
        found = await self.find_by_client_id(tx, owner_id, client_id or "")
        if found is None:
            raise LookupError("a conversation with this client id was closed at this moment")
        return found, False

    async def find_by_client_id(self, tx: Transaction, owner_id: uuid.UUID, client_id: str) -> Row[Any] | None:
        """The open conversation this owner calls `client_id`."""
        return await tx.row(
            select(conversation).where(
                conversation.c.owner_id == owner_id,
                conversation.c.client_id_hash == self._client_hash(owner_id, client_id),
                conversation.c.closed_at.is_(None),
                _LIVE,
            )
        )

    async def find_own(
        self, tx: Transaction, owner_id: uuid.UUID, client_id: str, conversation_id: uuid.UUID | None, *, lock: bool = False
    ) -> Row[Any] | None:
        """The conversation this owner calls `client_id`, else the owner's with this UUID."""
        c, named = conversation.c, self._client_hash(owner_id, client_id)
        by_name = and_(c.client_id_hash == named, c.closed_at.is_(None))
        which = by_name if conversation_id is None else or_(by_name, c.id == conversation_id)
        found = select(conversation).where(c.owner_id == owner_id, which, _LIVE).order_by(by_name.is_not(True)).limit(1)
        return await tx.row(found.with_for_update(key_share=True) if lock else found)

    async def by_id(self, tx: Transaction, conversation_id: uuid.UUID | None, *, lock: bool = False) -> Row[Any] | None:
        """The conversation, whoever owns it: for `access`, which decides who sees it. `lock`: until the end of the transaction nobody
        else moves its head."""
        found = select(conversation).where(conversation.c.id == conversation_id, _LIVE)
        return await tx.row(found.with_for_update(key_share=True) if lock else found)

    async def deleted(self, tx: Transaction, owner_id: uuid.UUID, reference: str, conversation_id: uuid.UUID | None) -> Row[Any] | None:
        """The owner's conversation with this UUID, else the one of this client id that was deleted last; also one that is not deleted."""
        c = conversation.c
        named = and_(c.client_id_hash == self._client_hash(owner_id, reference), c.deleted_at.is_not(None))
        which = named if conversation_id is None else or_(named, c.id == conversation_id)
        order = (c.id.is_not_distinct_from(conversation_id).desc(), c.deleted_at.desc())
        return await tx.row(select(conversation).where(c.owner_id == owner_id, which).order_by(*order).limit(1).with_for_update())

    async def restore(self, tx: Transaction, row: Row[Any]) -> Row[Any]:
        """Take a deletion back. A client id that another conversation has by now stays with that one."""
        c, taken = conversation.c, conversation.alias("taken")
        other = exists().where(
            taken.c.owner_id == row.owner_id, taken.c.client_id_hash == row.client_id_hash, taken.c.id != row.id,
            taken.c.deleted_at.is_(None), taken.c.closed_at.is_(None),
        )  # fmt: skip
        values = {name: case((other, None), else_=c[name]) for name in ("client_id", "client_id_hash")}
        restored = await tx.row(update(conversation).where(c.id == row.id).values(deleted_at=None, **values).returning(conversation))
        assert restored is not None  # noqa: S101 - locked by `deleted`
        return restored

    async def find(self, tx: Transaction, owner_id: uuid.UUID, conversation_id: uuid.UUID) -> Row[Any] | None:
        """The conversation with this id, if `owner_id` owns it: ownership is enforced here, for every caller."""
        return await tx.row(select(conversation).where(conversation.c.id == conversation_id, conversation.c.owner_id == owner_id, _LIVE))

    async def set_title(self, tx: Transaction, owner_id: uuid.UUID, conversation_id: uuid.UUID, title: str, at: datetime) -> None:
        sealed = self._seal(owner_id, title, f"conversation.title:{conversation_id}")
        await tx.execute(
            update(conversation).where(conversation.c.id == conversation_id).values(title=sealed, updated_at=at, title_by_person=True)
        )
        await self._index.put_title(tx, conversation_id, owner_id, title)

    async def suggest_title(self, tx: Transaction, owner_id: uuid.UUID, conversation_id: uuid.UUID, title: str) -> None:
        """Give an automatic title, unless a person gave one."""
        c = conversation.c
        automatic = update(conversation).where(c.id == conversation_id, c.title_by_person.is_(False))
        sealed = self._seal(owner_id, title, f"conversation.title:{conversation_id}")
        if await tx.scalar(automatic.values(title=sealed).returning(c.id)) is not None:
            await self._index.put_title(tx, conversation_id, owner_id, title)

    async def mark_deleted(self, tx: Transaction, conversation_id: uuid.UUID, at: datetime) -> None:
        await tx.execute(update(conversation).where(conversation.c.id == conversation_id).values(deleted_at=at))

    async def carried(self, tx: Transaction, conversation_id: uuid.UUID) -> frozenset[str]:
        """The permissions a conversation carries from where its messages come from (`carry`)."""
        found: Any = await tx.scalar(select(conversation.c.permissions_carried).where(conversation.c.id == conversation_id))
        return frozenset(found or ())

    async def carry(self, tx: Transaction, conversation_id: uuid.UUID, permissions: Collection[str]) -> None:
        """Whoever is to see this conversation needs `permissions` too: they were used where its messages come from."""
        all_of_them = sorted(await self.carried(tx, conversation_id) | set(permissions))
        await tx.execute(update(conversation).where(conversation.c.id == conversation_id).values(permissions_carried=all_of_them))

    async def close(self, tx: Transaction, conversation_id: uuid.UUID, at: datetime) -> None:
        await tx.execute(update(conversation).where(conversation.c.id == conversation_id).values(closed_at=at))

    def open_conversation(self, row: Row[Any]) -> Conversation:
        return Conversation(
            id=row.id, kind=row.kind, created_at=row.created_at, updated_at=row.updated_at, last_message_at=row.last_message_at,
            head_id=row.head_id, archived=row.archived_at is not None, pinned=row.pinned_at is not None, folder_id=row.folder_id,
            client_id=self._shown(row.client_id, f"conversation.client_id:{row.id}", None),
            title=self._shown(row.title, f"conversation.title:{row.id}", Erased.sentence),
        )  # fmt: skip

    def title(self, conversation_id: uuid.UUID, sealed: bytes | None) -> str | None:
        """The title of a row; None without one, and when its owner was erased."""
        try:
            return self._open(sealed, f"conversation.title:{conversation_id}")
        except Erased:
            return None

    # --- messages

    async def add_message(
        self,
        tx: Transaction,
        *,
        message_id: uuid.UUID,
        conversation_id: uuid.UUID,
        parent_id: uuid.UUID | None,
        role: Literal["user", "assistant"],
        subject: uuid.UUID,
        text: str,
        at: datetime,
        run_id: uuid.UUID | None = None,
        incomplete: bool = False,
        meta: dict[str, Any] | None = None,
        at_least: PatientClass = "none",
    ) -> None:
        """Store a message under `subject`'s key. It becomes the head of its conversation, an answer only where its question still is.

        `at_least` is the class of what came with it and cannot be seen in the text, such as files.
        """
        sealed_meta = self._vault.seal(subject, msgspec.json.encode(meta), aad=f"message.meta:{message_id}") if meta else None
        values = {
            "id": message_id, "conversation_id": conversation_id, "parent_id": parent_id, "role": role,
            "author_id": subject if role == "user" else None, "run_id": run_id, "incomplete": incomplete, "created_at": at,
            "meta": sealed_meta, "patient_class": class_of(text, meta, at_least),
            "body": self._vault.seal(subject, text.encode(), aad=f"message.body:{message_id}"),
        }  # fmt: skip
        await tx.send(insert_text("message", tuple(values)), values)
        await tx.send(_MOVE_HEAD, {"id": conversation_id, "asked": role == "user", "message": message_id, "parent": parent_id, "at": at})
        await self._index.put_message(tx, message_id, conversation_id, subject, text)

    async def add_imported(
        self, tx: Transaction, conversation_id: uuid.UUID, owner_id: uuid.UUID, messages: Sequence[Message], head_id: uuid.UUID | None
    ) -> None:
        """Store the messages of an imported file, parents first, all under the importer's key. What they hold of patients is not known."""
        for number, found in enumerate(messages):
            meta = found.metadata | ({"citations": list(found.citations)} if found.citations else {})
            await tx.send(
                insert(message).values(
                    id=found.id, conversation_id=conversation_id, parent_id=found.parent_id, role=found.role, run_id=None,
                    author_id=owner_id if found.role == "user" else None, incomplete=found.incomplete, created_at=found.created_at,
                    meta=self._vault.seal(owner_id, msgspec.json.encode(meta), aad=f"message.meta:{found.id}"),
                    patient_class=class_of(found.content, meta, "undecided"),
                    body=self._vault.seal(owner_id, found.content.encode(), aad=f"message.body:{found.id}"),
                )
            )  # fmt: skip
            await self._index.put_message(tx, found.id, conversation_id, owner_id, found.content)
            if number % _IMPORT_SLICE == 0:
                await asyncio.sleep(0)  # others are served meanwhile
        newest = max((found.created_at for found in messages), default=None)
        await tx.send(update(conversation).where(conversation.c.id == conversation_id).values(head_id=head_id, last_message_at=newest))

    async def get_message(self, tx: Transaction, conversation_id: uuid.UUID, message_id: uuid.UUID) -> Message | None:
        row = await tx.row(select(message).where(message.c.id == message_id, message.c.conversation_id == conversation_id))
        return self.open_message(row) if row is not None else None

    async def branch(
        self, tx: Transaction, conversation_id: uuid.UUID, head_id: uuid.UUID | None, limit: int = _HISTORY_MAX
    ) -> list[Message]:
        """The messages from the root to `head_id`, oldest first; at most the newest `limit`."""
        if head_id is None:
            return []
        rows = await tx.rows(_BRANCH, {"head": head_id, "conversation": conversation_id, "depth": limit})
        return [self.open_message(row) for row in rows]

    async def list_messages(
        self, tx: Transaction, conversation_id: uuid.UUID, limit: int, before: tuple[datetime, uuid.UUID] | None
    ) -> list[Message]:
        """Newest first; a page stays stable while messages arrive."""
        c = message.c
        statement = select(message).where(c.conversation_id == conversation_id)
        if before is not None:
            statement = statement.where(tuple_(c.created_at, c.id) < tuple_(literal(before[0]), literal(before[1], Uuid)))
        rows = await tx.rows(statement.order_by(c.created_at.desc(), c.id.desc()).limit(limit))
        return [self.open_message(row) for row in rows]

    async def in_branches(self, tx: Transaction, conversation_id: uuid.UUID, message_id: uuid.UUID, heads: Sequence[uuid.UUID]) -> bool:
        """Whether the message lies on the way from the first message to one of `heads`."""
        c = message.c
        up = select(c.id, c.parent_id).where(c.conversation_id == conversation_id, c.id.in_(heads)).cte("up", recursive=True)
        parent = message.alias("parent")
        up = up.union(select(parent.c.id, parent.c.parent_id).where(parent.c.id == up.c.parent_id))
        return await tx.scalar(select(up.c.id).where(up.c.id == message_id).limit(1)) is not None

    async def hands(
        self, tx: Transaction, conversation_id: uuid.UUID, message_ids: Sequence[uuid.UUID]
    ) -> tuple[frozenset[uuid.UUID], tuple[uuid.UUID, ...]]:
        """Who wrote these messages, and under whose keys they lie."""
        c = message.c
        rows = await tx.rows(select(c.author_id, c.body).where(c.conversation_id == conversation_id, c.id.in_(message_ids)))
        authors = frozenset(row.author_id for row in rows if row.author_id is not None)
        return authors, tuple(sorted({self._vault.subject_of(bytes(row.body)) for row in rows}))

    def open_message(self, row: Row[Any]) -> Message:
        """The message; one whose author's key was destroyed is there without its content."""
        try:
            content = self._open(row.body, f"message.body:{row.id}") or ""
            meta = json.loads(self._open(row.meta, f"message.meta:{row.id}") or "{}")
            erased = False
        except Erased:
            content, meta, erased = "", {}, True
        return Message(
            id=row.id, conversation_id=row.conversation_id, parent_id=row.parent_id, role=row.role, created_at=row.created_at,
            run_id=row.run_id, incomplete=row.incomplete, content=content, author_id=row.author_id, erased=erased,
            citations=tuple(meta.pop("citations", ())), metadata=meta,
        )  # fmt: skip

    # --- sealing

    def _client_hash(self, owner_id: uuid.UUID, client_id: str) -> bytes:
        return hmac.digest(self._client_id_key, owner_id.bytes + client_id.encode(), "sha256")

    def _seal(self, subject: uuid.UUID, text: str | None, aad: str) -> bytes | None:
        return None if text is None else self._vault.seal(subject, text.encode(), aad=aad)

    def _shown(self, sealed: bytes | None, aad: str, erased: str | None) -> str | None:
        """What is sealed; `erased` when its key was destroyed: people the conversation is shared with go on in it."""
        try:
            return self._open(sealed, aad)
        except Erased:
            return erased

    def _open(self, sealed: bytes | None, aad: str) -> str | None:
        return None if sealed is None else self._vault.open(sealed, aad=aad).decode()


def class_of(text: str, meta: Mapping[str, Any] | None, at_least: PatientClass = "none") -> PatientClass:
    """The class of a message: of its text, its citations and what came with it."""
    cited = (meta or {}).get("citations") or ()
    return highest([at_least, patient_class(text), *(patient_class(str(citation.get("excerpt", ""))) for citation in cited)])
