"""Conversations as something to sign: the branch from the first message to one message.

The version is how many messages that branch has, the part its last message; neither the branch nor its messages can change, so a
later message is a later version. The title is no part of what is signed: it can be changed at any time.
"""

import uuid
from typing import Any

from aliquot.chat.contracts import Message
from aliquot.chat.conversations import Conversations
from aliquot.chat.errors import MessageSigned, RecordSigned
from aliquot.chat.store import ChatStore
from aliquot.identity.contracts import Principal
from aliquot.kernel.canonical import canonical_json
from aliquot.kernel.clock import rfc3339
from aliquot.kernel.ids import parse_id
from aliquot.kernel.problems import NotFound
from aliquot.platform.db import Transaction
from aliquot.platform.vault import Erased
from aliquot.records.signatures.api import SignaturesApi
from aliquot.records.signatures.contracts import SignableRecord
from aliquot.records.signatures.errors import NotSignable


class SignableConversations:
    """The shown branch of a conversation, or the one that ends with the message `part`."""

    name = "conversation"
    direct = True

    def __init__(self, conversations: Conversations, chats: ChatStore, messages_max: int) -> None:
        self._conversations, self._chats, self._messages_max = conversations, chats, messages_max

    async def locate(self, tx: Transaction, principal: Principal, reference: str) -> str:
        return str((await self._conversations.find(tx, principal, reference, need="read")).id)

    async def current(self, tx: Transaction, principal: Principal, record_id: str, part: str | None) -> SignableRecord:
        known = parse_id(record_id)
        if known is None:
            raise NotFound
        conversation = await self._conversations.by_id(tx, principal, known, "read")
        head = conversation.head_id if part is None else parse_id(part)
        if part is not None and head is None:
            raise NotFound
        messages = await self._chats.branch(tx, conversation.id, head, limit=self._messages_max + 1)
        if not messages and part is not None:
            raise NotFound
        if not messages:
            raise NotSignable("There is no message to sign.")
        if len(messages) > self._messages_max:
            raise NotSignable(f"A branch of more than {self._messages_max} messages cannot be signed.")
        if any(message.erased for message in messages):
            raise Erased
        authors, subjects = await self._chats.hands(tx, conversation.id, [message.id for message in messages])
        return SignableRecord(
            kind=self.name, id=str(conversation.id), version=len(messages), part=str(head), content=_content(conversation.id, messages),
            title=self._chats.open_conversation(conversation).title or "Conversation", authors=authors | {conversation.owner_id},
            subjects=subjects,
        )  # fmt: skip


class SignedBranches:
    """What was signed of a conversation does not change any more, not even by a file that is attached later or taken away."""

    def __init__(self, signatures: SignaturesApi, chats: ChatStore) -> None:
        self._signatures, self._chats = signatures, chats

    async def require_unsigned(self, tx: Transaction, conversation_id: uuid.UUID, message_id: uuid.UUID) -> None:
        """Raises MessageSigned when the message is in a branch that somebody signed. Nobody signs until the transaction ends."""
        parts = await self._signatures.locked_parts(tx, SignableConversations.name, str(conversation_id))
        heads = [head for part in parts if (head := parse_id(part)) is not None]
        if heads and await self._chats.in_branches(tx, conversation_id, message_id, heads):
            raise MessageSigned

    async def require_never_signed(self, tx: Transaction, conversation_id: uuid.UUID) -> None:
        """Raises RecordSigned when anything in the conversation was signed. Nobody signs until the transaction ends."""
        if await self._signatures.locked_parts(tx, SignableConversations.name, str(conversation_id)):
            raise RecordSigned


def _content(conversation_id: uuid.UUID, messages: list[Message]) -> bytes:
    value = {
        "type": "conversation", "id": str(conversation_id), "version": len(messages), "part": str(messages[-1].id),
        "messages": [_message(message) for message in messages],
    }  # fmt: skip
    try:
        return canonical_json(value)
    except ValueError as error:
        raise NotSignable("A message holds what has no canonical form.") from error


def _message(message: Message) -> dict[str, Any]:
    return {
        "id": str(message.id), "parent_id": None if message.parent_id is None else str(message.parent_id), "role": message.role,
        "run_id": None if message.run_id is None else str(message.run_id), "created_at": rfc3339(message.created_at),
        "incomplete": message.incomplete, "content": message.content, "citations": list(message.citations), "metadata": message.metadata,
    }  # fmt: skip
