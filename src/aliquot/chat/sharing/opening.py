"""Opening a share, and continuing it as a copy. Every opening is looked up anew and recorded, also the refused ones."""

import uuid
from collections.abc import Sequence
from typing import Any

from aliquot.chat.access import Access
from aliquot.chat.attachments.contracts import Attachment
from aliquot.chat.attachments.service import Attachments
from aliquot.chat.contracts import Conversation, Message
from aliquot.chat.conversations import Conversations
from aliquot.chat.errors import SharedPermissionMissing
from aliquot.chat.sharing.contracts import SharedConversation, SharedFile, SharedMessage
from aliquot.chat.sharing.errors import ShareEnded, ShareSuspended, TooLongToCopy, UnknownShare
from aliquot.chat.sharing.service import Sharing, token_hash
from aliquot.chat.sharing.store import ShareStore, title_of
from aliquot.chat.store import ChatStore
from aliquot.chat.tree.service import Tree
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.kernel.ids import new_id, parse_id
from aliquot.kernel.problems import InvalidInput, NotFound, Problem, Unauthenticated
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Transaction
from aliquot.platform.settings import Limits
from aliquot.platform.vault import Vault

_TOKEN_CHARS = 200


class Opening:
    """Shares from the reader's side. Functions that return a Problem must have their transaction committed: the refusal is recorded."""

    def __init__(
        self, *, store: ShareStore, sharing: Sharing, chats: ChatStore, conversations: Conversations, tree: Tree, access: Access,
        files: Attachments, identity: IdentityApi, ledger: LedgerApi, vault: Vault, clock: Clock, limits: Limits,
    ) -> None:  # fmt: skip
        self._store, self._sharing, self._chats, self._conversations, self._tree = store, sharing, chats, conversations, tree
        self._access, self._files, self._identity, self._ledger, self._vault = access, files, identity, ledger, vault
        self._clock, self._limits = clock, limits

    async def open(
        self, tx: Transaction, reader: Principal | None, token: str, address: str, limit: int, after: uuid.UUID | None
    ) -> SharedConversation | Problem:
        """A page of what the share shows, oldest first. `token`, or for the people it names also the share's id."""
        found = await self._admitted(tx, reader, token, address)
        if isinstance(found, Problem):
            return found
        share, row = found
        path = await self._tree.path(tx, row.id, share.message_id or row.head_id)
        start = 0
        if after is not None:
            if after not in path:
                return InvalidInput("after: this message is not part of what is shared")
            start = path.index(after) + 1
        messages = await self._tree.opened(tx, path[start : start + limit])
        files = await self._files.of_messages(tx, [m.id for m in messages])
        names = {} if share.public else await self._identity.names(tx, {m.author_id for m in messages if m.author_id is not None})
        await self._audit(tx, reader, address, share, None)
        if reader is not None:
            await self._access.saw(tx, reader, "share", [m.id for m in messages])
        return SharedConversation(
            conversation_id=row.id if share.message_id is None else None, title=self._chats.title(row.id, title_of(share, row)),
            public=share.public, live=share.message_id is None, may_write=share.may_write,
            items=[_shown(m, names, [_file(f, token) for f in files.get(m.id, ())]) for m in messages],
            next=str(messages[-1].id) if messages and start + limit < len(path) else None,
        )  # fmt: skip

    async def file(
        self, tx: Transaction, reader: Principal | None, token: str, address: str, attachment_id: uuid.UUID | None
    ) -> Attachment | Problem:
        """Allow the download of a file of a message the share shows, and record it. Other files are not there (UnknownAttachment)."""
        found = await self._admitted(tx, reader, token, address)
        if isinstance(found, Problem):
            return found
        share, row = found
        path = set(await self._tree.path(tx, row.id, share.message_id or row.head_id))
        try:
            file, message_id = await self._files.shared(tx, attachment_id, path, public=share.public)
        except Problem as problem:
            await self._audit(tx, reader, address, share, problem, "share.file_downloaded")
            return problem
        await self._audit(tx, reader, address, share, None, "share.file_downloaded", f"attachment:{file.id}")
        if reader is not None:
            await self._access.saw(tx, reader, "share", [message_id])
        return file

    async def copy(self, tx: Transaction, reader: Principal, token: str, address: str) -> Conversation | Problem:
        """A new conversation of the reader with the branch the share shows. What others wrote stays under their keys and their names;
        what was used in it asks the same permissions of whoever the copy is shared with."""
        found = await self._admitted(tx, reader, token, address)
        if isinstance(found, Problem):
            return found
        share, row = found
        path = await self._tree.path(tx, row.id, share.message_id or row.head_id)
        if len(path) > self._limits.shared_copy_messages:
            return TooLongToCopy(f"It has {len(path):,} messages; at most {self._limits.shared_copy_messages:,} can be copied.")
        title = self._chats.title(row.id, title_of(share, row))
        made = await self._conversations.create(tx, reader, "chat", client_id=None, title=title)
        await self._chats.carry(tx, made.id, await self._access.permissions_used(tx, row.id))
        head = await self._copied(tx, made.id, path)
        await self._audit(tx, reader, address, share, None, action="share.copied")
        return await self._conversations.get(tx, reader, str(made.id)) if head is not None else made

    async def _copied(self, tx: Transaction, conversation_id: uuid.UUID, path: Sequence[uuid.UUID]) -> uuid.UUID | None:
        sealed = await self._store.sealed(tx, path)
        parent: uuid.UUID | None = None
        for message in await self._tree.opened(tx, path):
            if message.erased:
                continue
            body, known = sealed[message.id]
            copy_id, citations = new_id(), list(message.citations)
            at = min(message.created_at, self._clock.now())  # a file may say anything, and would lead every list until then
            await self._chats.add_message(
                tx, message_id=copy_id, conversation_id=conversation_id, parent_id=parent, role=message.role, text=message.content,
                subject=self._vault.subject_of(body), at=at, incomplete=message.incomplete, at_least=known,
                meta={"copied_from": str(message.id)} | _imported(message) | ({"citations": citations} if citations else {}),
            )  # fmt: skip
            parent = copy_id
        return parent

    # --- who may

    async def _admitted(self, tx: Transaction, reader: Principal | None, token: str, address: str) -> tuple[Any, Any] | Problem:
        """The share and its conversation, or why not."""
        if not token or len(token) > _TOKEN_CHARS:
            return UnknownShare()
        by_id = parse_id(token) if reader is not None else None
        share = await self._store.opened_by(tx, token_hash(token), by_id)
        if share is None or (share.public and by_id is not None):
            return UnknownShare()
        problem, row = await self._judged(tx, reader, share)
        if problem is not None:
            await self._audit(tx, reader, address, share, problem)
            return problem
        return share, row

    async def _judged(self, tx: Transaction, reader: Principal | None, share: Any) -> tuple[Problem | None, Any]:
        row = await self._chats.by_id(tx, share.conversation_id)
        if not share.public:
            if reader is None:
                return Unauthenticated("Log in to open this link."), row
            owner = row is not None and row.owner_id == reader.id
            if not owner and not await self._store.names(tx, share.id, reader.id):
                return UnknownShare(), row
        if row is None or share.revoked_at is not None or (share.expires_at is not None and share.expires_at <= self._clock.now()):
            return ShareEnded(), row
        if share.public:
            return (ShareSuspended() if await self._suspended(tx, row) else None), row
        try:
            if reader is not None and row.owner_id != reader.id:
                await self._access.require_permissions(tx, reader, row.id)
        except SharedPermissionMissing as problem:
            return problem, row
        return None, row

    async def _suspended(self, tx: Transaction, row: Any) -> bool:
        """A public link needs an owner who is still there, and a conversation that everybody may see (`Sharing.not_public`)."""
        try:
            active = (await self._identity.person(tx, row.owner_id)).active
        except NotFound:
            active = False
        return not active or await self._sharing.not_public(tx, row) is not None

    async def _audit(
        self, tx: Transaction, reader: Principal | None, address: str, share: Any, problem: Problem | None, action: str = "share.opened",
        what: str | None = None,
    ) -> None:  # fmt: skip
        await self._ledger.append(
            tx,
            AuditEvent(
                action=action, actor=str(reader.id) if reader else "anonymous", via=reader.via if reader else "link", ip=address,
                record=RecordRef(type="conversation", id=str(share.conversation_id)), outcome="ok" if problem is None else "denied",
                reason=",".join(part for part in (f"share:{share.id}", what, problem.code if problem is not None else None) if part),
            ),
        )  # fmt: skip


def _imported(message: Message) -> dict[str, Any]:
    """The mark of a message that comes from an imported file, without what the file says of it."""
    mark = message.metadata.get("imported")
    return {} if mark is None else {"imported": {"at": mark.get("at")} if isinstance(mark, dict) else {}}


def _file(file: Attachment, token: str) -> SharedFile:
    return SharedFile(
        id=file.id, file_name=file.file_name, file_type=file.file_type, file_size=file.file_size, mime_type=file.mime_type,
        sha256=file.sha256, file_url=f"/api/shared/{token}/attachments/{file.id}", state=file.state,
    )  # fmt: skip


def _shown(message: Message, names: dict[uuid.UUID, str], files: Sequence[SharedFile]) -> SharedMessage:
    return SharedMessage(
        id=message.id, role=message.role, content=message.content, created_at=message.created_at, incomplete=message.incomplete,
        author=names.get(message.author_id) if message.author_id else None, citations=message.citations,
        imported="imported" in message.metadata, attachments=files,
    )  # fmt: skip
