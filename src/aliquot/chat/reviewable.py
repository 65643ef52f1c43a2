"""Answers as something to review: what the review queue (`records.review`) needs of messages."""

import uuid

from aliquot.chat.access import Access
from aliquot.chat.conversations import Conversations
from aliquot.chat.errors import UnknownConversation
from aliquot.chat.feedback.errors import NotAnAnswer, UnknownMessage
from aliquot.chat.feedback.store import FeedbackStore
from aliquot.chat.sharing.store import ShareStore
from aliquot.chat.store import ChatStore
from aliquot.identity.contracts import Principal
from aliquot.platform.db import Transaction
from aliquot.records.review.contracts import Contents, Reviewed


class ReviewableAnswers:
    """A `records.review.contracts.Messages`."""

    def __init__(
        self, conversations: Conversations, chats: ChatStore, access: Access, answers: FeedbackStore, shares: ShareStore
    ) -> None:  # fmt: skip
        self._conversations, self._chats, self._access, self._answers, self._shares = conversations, chats, access, answers, shares

    async def readable(self, tx: Transaction, principal: Principal, message_id: uuid.UUID) -> Reviewed:
        row = await self._answers.message(tx, message_id)
        if row is None:
            raise UnknownMessage
        try:
            await self._conversations.by_id(tx, principal, row.conversation_id, "read")
        except UnknownConversation:
            raise UnknownMessage from None
        if row.role != "assistant":
            raise NotAnAnswer("Only answers of the assistant can be reviewed.")
        reviewed = await self.known(tx, message_id)
        if reviewed is None:
            raise UnknownMessage
        return reviewed

    async def known(self, tx: Transaction, message_id: uuid.UUID) -> Reviewed | None:
        row = await self._answers.message(tx, message_id)
        conversation = None if row is None else await self._chats.by_id(tx, row.conversation_id)
        answer = None if conversation is None else await self._chats.get_message(tx, conversation.id, message_id)
        if conversation is None or answer is None or answer.role != "assistant":
            return None
        authors, _ = await self._chats.hands(tx, conversation.id, [one for one in (message_id, answer.parent_id) if one is not None])
        _, subjects = await self._chats.hands(tx, conversation.id, [message_id])
        return Reviewed(
            message_id=message_id, subject=subjects[0], asked_by=authors | {conversation.owner_id},
            patient=await self._shares.patient_class(tx, conversation.id) != "none",
        )  # fmt: skip

    async def contents(self, tx: Transaction, principal: Principal, message_id: uuid.UUID) -> Contents:
        row = await self._answers.message(tx, message_id)
        if row is None:
            raise UnknownMessage
        await self._access.require_permissions(tx, principal, row.conversation_id)
        answer = await self._chats.get_message(tx, row.conversation_id, message_id)
        if answer is None:
            raise UnknownMessage
        asked = None if answer.parent_id is None else await self._chats.get_message(tx, row.conversation_id, answer.parent_id)
        return Contents(
            question=None if asked is None or asked.erased else asked.content, answer=None if answer.erased else answer.content
        )  # fmt: skip
