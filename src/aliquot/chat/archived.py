"""Conversations as an archive holds them (`records.retention`): each message under the key of whoever's words it is."""

import base64
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import msgspec
from sqlalchemy import select

from aliquot.chat.attachments.store import AttachmentStore
from aliquot.chat.plans.store import PlanStore
from aliquot.chat.tables import conversation, message, run
from aliquot.ledger.contracts import RecordRef
from aliquot.platform.blobs import BlobMissing, Blobs
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Erased, Vault
from aliquot.records.retention.contracts import ArchivedPart

_FILE_BYTES_MAX = 1 << 30
_RUN_FIELDS = (
    "id", "conversation_id", "person_id", "kind", "state", "via", "user_message_id", "message_id", "parent_run_id", "approval_id", "model",
    "input_tokens", "output_tokens", "cost", "currency", "error_code", "created_at", "finished_at",
)  # fmt: skip
_MESSAGE_FIELDS = ("id", "conversation_id", "parent_id", "role", "author_id", "run_id", "incomplete", "patient_class", "created_at")
_PLAN_FIELDS = (
    "id", "conversation_id", "person_id", "run_id", "run_step", "current_run_id", "state", "mode", "reason", "whole_id", "approval_id",
    "stop_by", "created_at", "ended_at",
)  # fmt: skip
_CONVERSATION_FIELDS = ("id", "owner_id", "kind", "head_id", "created_at", "last_message_at", "deleted_at")


class ArchivedConversations:
    """Reads what an archive keeps of conversations. What was erased already is left out."""

    def __init__(self, vault: Vault, blobs: Blobs) -> None:
        self._vault, self._blobs, self._files, self._plans = vault, blobs, AttachmentStore(vault), PlanStore(vault)

    async def parts(self, tx: Transaction, ids: Sequence[uuid.UUID]) -> list[ArchivedPart]:
        parts: list[ArchivedPart] = []
        for row in await tx.rows(select(conversation).where(conversation.c.id.in_(ids)).order_by(conversation.c.id)):
            content = _fields(row, _CONVERSATION_FIELDS) | {"title": self._text(row.title, f"conversation.title:{row.id}")}
            parts.append(_part("conversation", row.id, row.owner_id, content))
        runs = await tx.rows(select(run).where(run.c.conversation_id.in_(ids)).order_by(run.c.id))
        parts += [_part("run", row.id, row.person_id, _fields(row, _RUN_FIELDS)) for row in runs]
        parts += [await self._plan(tx, row) for row in await self._plans.of_conversations(tx, ids)]
        rows = await tx.rows(select(message).where(message.c.conversation_id.in_(ids)).order_by(message.c.id))
        parts += [part for row in rows if (part := self._message(row)) is not None]
        files = await self._files.of_messages(tx, [row.id for row in rows])
        for row in {row.id: row for bound in files.values() for row in bound}.values():
            parts += await self._file(row)
        return parts

    def _message(self, row: Any) -> ArchivedPart | None:
        text = self._text(row.body, f"message.body:{row.id}")
        if text is None:
            return None
        meta = self._text(row.meta, f"message.meta:{row.id}")
        content = _fields(row, _MESSAGE_FIELDS) | {"text": text, "meta": None if meta is None else json.loads(meta)}
        return _part("message", row.id, self._vault.subject_of(bytes(row.body)), content)

    async def _plan(self, tx: Transaction, row: Any) -> ArchivedPart:
        """A plan; without its steps when they were erased."""
        try:
            steps = [msgspec.to_builtins(step) for step in await self._plans.steps(tx, row.id)]
        except Erased:
            steps = []
        return _part("plan", row.id, row.person_id, _fields(row, _PLAN_FIELDS) | {"steps": steps})

    async def _file(self, row: Any) -> list[ArchivedPart]:
        """The file itself and what is known of it; nothing of one that is gone or erased."""
        try:
            facts = self._files.facts(row)
            data = await self._blobs.read(row.id, _FILE_BYTES_MAX)
        except (Erased, BlobMissing):
            return []
        content = {"id": row.id, "owner_id": row.owner_id, "facts": asdict(facts), "data_base64": base64.b64encode(data).decode()}
        return [_part("attachment", row.id, row.owner_id, content)]

    def _text(self, sealed: Any, aad: str) -> str | None:
        try:
            return None if sealed is None else self._vault.open(bytes(sealed), aad=aad).decode()
        except Erased:
            return None


def _fields(row: Any, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _part(kind: str, record_id: uuid.UUID, subject: uuid.UUID, content: dict[str, Any]) -> ArchivedPart:
    return ArchivedPart(record=RecordRef(type=kind, id=str(record_id)), subject=subject, content=content)
