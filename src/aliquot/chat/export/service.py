"""Exporting and importing conversations. Reading is committed with its audit event before a file is made; e-mail leaves by a job."""

import asyncio
import json
import re
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from aliquot.chat.attachments.service import Attachments
from aliquot.chat.contracts import Conversation, Message
from aliquot.chat.conversations import Conversations
from aliquot.chat.export.contracts import MEDIA_TYPES, SUFFIXES, Document, Entry, Exported, Options
from aliquot.chat.export.errors import ExportTooLarge, MailNotConfigured, MailRefused
from aliquot.chat.export.markdown import markdown
from aliquot.chat.export.pdf import pdf
from aliquot.chat.export.portable import FORMAT, PortableConversation, PortableMessage, parents_first, portable, tools_named
from aliquot.chat.export.store import ExportStore
from aliquot.chat.store import ChatStore
from aliquot.identity.api import IdentityApi
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock, rfc3339
from aliquot.kernel.ids import new_id
from aliquot.kernel.problems import NotFound, Problem
from aliquot.ledger.api import LedgerApi
from aliquot.ledger.contracts import AuditEvent, RecordRef
from aliquot.platform.db import Database, Transaction
from aliquot.platform.jobs import Jobs
from aliquot.platform.limits import Limiter
from aliquot.platform.mail import Attachment, Mailer, MailFailed
from aliquot.platform.settings import Settings
from aliquot.platform.vault import Vault
from aliquot.tools.api import ToolsApi

SEND_EXPORT = "chat.send_export"
_ASSISTANT = "Aliquot"


class Exports:
    """Files out of conversations, and back."""

    def __init__(
        self,
        chats: ChatStore,
        vault: Vault,
        conversations: Conversations,
        files: Attachments,
        identity: IdentityApi,
        tools: ToolsApi,
        ledger: LedgerApi,
        jobs: Jobs,
        limiter: Limiter,
        db: Database,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._db, self._chats, self._store = db, chats, ExportStore(vault)
        self._conversations, self._files, self._identity, self._tools = conversations, files, identity, tools
        self._ledger, self._jobs, self._limiter = ledger, jobs, limiter
        self._clock, self._settings = clock, settings
        self._mail = Mailer(settings.smtp_url.get_secret_value(), settings.mail_from) if settings.smtp_url is not None else None
        self._typesetting, self._importing = asyncio.Semaphore(2), asyncio.Semaphore(1)
        jobs.register(SEND_EXPORT, self._send)

    # --- out

    async def export(self, principal: Principal, reference: str, options: Options) -> Exported:
        """The file. Raises what `Conversations.find` raises, and ExportTooLarge."""
        async with self._db.begin() as tx:
            render, name = await self._gather(tx, principal, reference, options)
        async with self._typesetting:
            data = await asyncio.to_thread(render)
        return Exported(name=f"{name}.{SUFFIXES[options.format]}", media_type=MEDIA_TYPES[options.format], data=data)

    async def _gather(self, tx: Transaction, principal: Principal, reference: str, options: Options) -> tuple[Callable[[], bytes], str]:
        """What makes the file, with everything read; and the file's name."""
        row = await self._conversations.opening(tx, principal, reference, "export")
        found = self._chats.open_conversation(row)
        if await self._store.count(tx, row.id) > self._settings.limits.export_messages:
            raise ExportTooLarge
        messages = parents_first([self._chats.open_message(r) for r in await self._store.rows(tx, row.id)])
        await self._conversations.exported(tx, principal, [m.id for m in messages])
        authors = await self._store.authors(tx, row.id)
        names = await self._identity.names(tx, set(authors.values()))
        files = await self._files.of_messages(tx, [m.id for m in messages])
        by = {m.id: names.get(authors[m.id], "Unknown person") if m.id in authors else _ASSISTANT for m in messages}
        await self._audit(tx, principal, "conversation.exported", row.id, options.format)
        name = _file_name(found.title or "conversation")
        if options.format == "json":
            return lambda: self._json(found, messages, by), name
        document = self._document(principal, found, messages, by, {key: tuple(f.file_name for f in kept) for key, kept in files.items()})
        if options.format == "markdown":
            return lambda: markdown(document, options).encode(), name
        return lambda: pdf(document, options), name

    def _document(
        self, principal: Principal, found: Conversation, messages: list[Message], by: dict[uuid.UUID, str],
        files: dict[uuid.UUID, tuple[str, ...]],
    ) -> Document:  # fmt: skip
        branch = _branch(messages, found.head_id)
        return Document(
            title=found.title or "Conversation", conversation_id=str(found.id), exported_by=principal.name or principal.email,
            exported_at=self._clock.now(), time_zone=self._settings.time_zone, hidden=len(messages) - len(branch),
            entries=tuple(
                Entry(
                    author=by[m.id], at=m.created_at, text=m.content, incomplete=m.incomplete, citations=m.citations,
                    files=files.get(m.id, ()),
                )
                for m in branch
            ),
        )  # fmt: skip

    def _json(self, found: Conversation, messages: list[Message], by: dict[uuid.UUID, str]) -> bytes:
        head = str(found.head_id) if found.head_id in by else None
        return json.dumps(
            {
                "format": FORMAT, "version": 1, "exported_at": rfc3339(self._clock.now()), "id": str(found.id), "title": found.title,
                "created_at": rfc3339(found.created_at), "head_id": head, "messages": [portable(m, by[m.id]) for m in messages],
            },
            ensure_ascii=False, indent=1,
        ).encode()  # fmt: skip

    # --- in

    async def import_(self, tx: Transaction, principal: Principal, file: PortableConversation) -> Conversation:
        """A new conversation of this person with the file's tree. Raises RateLimited.

        A file is a claim: everything in it is marked as imported, its metadata (files, calls, confidence) lies under that mark and means
        nothing to the product, its citations are unverified, and what it holds of patients is undecided. It may leave out which tools its
        answers came from: whoever is to see them needs the permissions of all tools this person can read with, and of those it names.
        """
        await self._limiter.hit(tx, f"import:{principal.id}", self._settings.limits.imports_per_hour, 3_600)
        made = await self._conversations.create(tx, principal, "chat", client_id=None, title=file.title)
        new = {message.id: new_id() for message in file.messages}
        now = self._clock.now()
        messages = [
            Message(
                id=new[message.id], conversation_id=made.id, parent_id=new[message.parent_id] if message.parent_id else None,
                role=message.role, content=message.content, created_at=min(message.created_at, now), incomplete=message.incomplete,
                citations=tuple(c.model_dump(exclude_none=True) | {"verified": False} for c in message.citations),
                metadata={"imported": _origin(file, message, now)},
            )
            for message in file.messages
        ]  # fmt: skip
        async with self._importing:
            await self._chats.add_imported(tx, made.id, principal.id, messages, new.get(file.head_id) if file.head_id else None)
        needed = self._tools.permissions_of(tools_named(file))
        if any(message.role == "assistant" for message in file.messages):
            needed |= self._tools.permissions_to_read(principal)
        await self._chats.carry(tx, made.id, needed)
        await self._audit(tx, principal, "conversation.imported", made.id, f"from {file.id}")
        return await self._conversations.get(tx, principal, str(made.id))

    # --- by e-mail

    async def send(self, tx: Transaction, principal: Principal, reference: str, options: Options, to: str) -> dict[str, Any]:
        """Queue an export for a recipient. Raises MailNotConfigured, MailRefused."""
        if self._mail is None:
            raise MailNotConfigured
        row = await self._conversations.find(tx, principal, reference, "read")
        await self._require_recipient(tx, principal, to)
        delivery_id, at = new_id(), self._clock.now()
        wanted = {
            "to": to, "format": options.format, "include_citations": options.include_citations,
            "include_timestamps": options.include_timestamps,
        }  # fmt: skip
        await self._store.queue(tx, delivery_id, row.id, principal.id, principal.via, wanted, at)
        await self._audit(tx, principal, "conversation.export_mailed", row.id, options.format, {"to": to.encode()})
        await self._jobs.defer(tx, SEND_EXPORT, {"delivery_id": str(delivery_id)})
        return {"id": str(delivery_id), "state": "queued", "created_at": rfc3339(at)}

    async def deliveries(self, tx: Transaction, principal: Principal, reference: str) -> list[dict[str, Any]]:
        """What this person had sent of the conversation, newest first."""
        row = await self._conversations.find(tx, principal, reference, "read")
        return [
            {
                "id": str(d.id), "state": d.state, "error_code": d.error_code, "created_at": rfc3339(d.created_at),
                "sent_at": rfc3339(d.sent_at) if d.sent_at else None,
            }
            for d in await self._store.deliveries(tx, row.id, principal.id)
        ]  # fmt: skip

    async def _require_recipient(self, tx: Transaction, principal: Principal, to: str) -> None:
        domain = to.rpartition("@")[2].lower()
        if to.lower() == principal.email.lower() or domain in {d.lower() for d in self._settings.mail_domains}:
            return
        try:
            known = (await self._identity.person(tx, to)).active
        except NotFound:
            known = False
        if not known:
            raise MailRefused

    async def _send(self, *, delivery_id: str) -> None:
        """Job. What fails before the mail server took the mail is tried again; what was in flight at a crash is not."""
        key = uuid.UUID(delivery_id)
        async with self._db.begin() as tx:
            taken = await self._store.take(tx, key)
        if taken is None or self._mail is None:
            return
        row, wanted = taken
        try:
            to = wanted.pop("to")
            async with self._db.begin() as tx:
                principal = await self._identity.principal(tx, row.person_id, via=row.via)
                if not principal.may("chat.use"):
                    raise MailFailed("no_longer_allowed", final=True)
            file = await self.export(principal, str(row.conversation_id), Options(**wanted))
            await self._mail.send(
                to=to, subject="A conversation exported from Aliquot", message_id=f"<{key}@aliquot.invalid>",
                text=f"{principal.name} sends you the attached conversation.\n",
                attachment=Attachment(name=file.name, media_type=file.media_type, data=file.data),
            )  # fmt: skip
        except Problem as problem:
            await self._settle(key, "failed", problem.code)
        except MailFailed as error:
            await self._settle(key, "failed" if error.final else "queued", error.code)
            if not error.final:
                raise
        else:
            await self._settle(key, "sent", None)

    async def _settle(self, delivery_id: uuid.UUID, state: str, error: str | None) -> None:
        async with self._db.begin() as tx:
            await self._store.settle(tx, delivery_id, state, error=error, sent_at=self._clock.now() if state == "sent" else None)

    async def _audit(
        self, tx: Transaction, principal: Principal, action: str, conversation_id: uuid.UUID, reason: str,
        content: dict[str, bytes] | None = None,
    ) -> None:  # fmt: skip
        await self._ledger.append(
            tx,
            AuditEvent(
                action=action, actor=str(principal.id), via=principal.via, ip=principal.ip, reason=reason, content=content or {},
                subject=principal.id, record=RecordRef(type="conversation", id=str(conversation_id)),
            ),
        )  # fmt: skip


def _origin(file: PortableConversation, message: PortableMessage, at: datetime) -> dict[str, Any]:
    return {
        "at": rfc3339(at), "conversation_id": str(file.id), "message_id": str(message.id), "author": message.author,
        "metadata": message.metadata,
    }  # fmt: skip


def _branch(messages: list[Message], head_id: uuid.UUID | None) -> list[Message]:
    """From the root to the shown head."""
    by_id = {message.id: message for message in messages}
    branch: list[Message] = []
    at = by_id.get(head_id) if head_id is not None else None
    while at is not None:
        branch.append(at)
        at = by_id.get(at.parent_id) if at.parent_id is not None else None
    return branch[::-1]


def _file_name(title: str) -> str:
    """A name no file system and no header minds."""
    return re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-")[:60].lower() or "conversation"
