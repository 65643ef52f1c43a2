"""Lists and search of conversations. A search reads candidates by their tokens, then opens and checks each one."""

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from aliquot.chat.access import Access
from aliquot.chat.contracts import Conversation
from aliquot.chat.errors import SharedPermissionMissing
from aliquot.chat.search.contracts import Filter, Listed, Match, Page, Place
from aliquot.chat.search.errors import QueryTooLong
from aliquot.chat.search.matching import Matcher
from aliquot.chat.search.query import Query, parse
from aliquot.chat.search.store import FindStore, IndexStore
from aliquot.chat.search.turns import Turns
from aliquot.chat.store import ChatStore
from aliquot.identity.contracts import Principal
from aliquot.kernel.clock import Clock
from aliquot.platform.db import Transaction
from aliquot.platform.limits import Limiter
from aliquot.platform.settings import Limits
from aliquot.platform.vault import Damaged, Erased, Vault

_TITLE_WEIGHT = 2.0
_MORE_WEIGHT = 0.1
_MATCHES_SHOWN = 3
_SUBJECTS_MAX = 500


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may match, still sealed."""

    query: Query
    titled: Sequence[Any]
    messages: Sequence[Any]
    conversations: dict[uuid.UUID, Any]
    shared: dict[uuid.UUID, Conversation]
    """Other people's conversations, as this person sees them."""
    cut: bool = False
    """There may be more messages than were read."""


class Search:
    """What a person may find: their own conversations and those shared with them; never deleted, `api` or `tool` ones."""

    def __init__(self, chats: ChatStore, access: Access, vault: Vault, limiter: Limiter, limits: Limits, clock: Clock) -> None:
        self._chats, self._access, self._vault = chats, access, vault
        self._limiter, self._limits, self._clock = limiter, limits, clock
        self._found, self._index = FindStore(), IndexStore(vault)
        self.turns = Turns(limits.search_wait_seconds)
        # One thread of its own: it needs the interpreter all the time, and more of them would take it from whoever answers requests.
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="search")

    async def recent(self, tx: Transaction, principal: Principal, wanted: Filter, limit: int, after: Place | None) -> Page:
        """My conversations: pinned ones first, then the most recently used."""
        rows = await self._found.recent(tx, principal.id, wanted, limit, after)
        items = [_listed(self._chats.open_conversation(row)) for row in rows]
        last = items[-1] if len(items) == limit else None
        return Page(items=items, next=Place(pinned=last.pinned, updated_at=last.updated_at, id=last.id) if last else None)

    async def candidates(self, tx: Transaction, principal: Principal, text: str, wanted: Filter) -> Candidates:
        """The newest messages and titles that may match `text`. Raises QueryTooLong, RateLimited."""
        await self._limiter.hit(tx, f"search:{principal.id}", self._limits.searches_per_minute, 60)
        if len(text) > self._limits.search_query_chars:
            raise QueryTooLong(f"A search has at most {self._limits.search_query_chars:,} characters.")
        query = parse(text)
        if query.words > self._limits.search_query_words:
            raise QueryTooLong(f"A search has at most {self._limits.search_query_words} words.")
        if not query.terms:
            return Candidates(query, (), (), {}, {})
        shared = await self._found.shared(tx, principal.id, self._clock.now(), self._limits.search_shared_conversations)
        tokens = self._tokens(query, await self._found.subjects(tx, principal.id, shared))
        most = self._limits.search_candidates
        titled = await self._found.titled(tx, principal.id, shared, tokens, wanted, most // 2 or 1)
        left = max(1, most - len(titled))
        messages = await self._found.messages(tx, principal.id, shared, tokens, wanted, left)
        cut = len(messages) >= left
        known = {row.id: row for row in titled}
        missing = {row.conversation_id for row in messages} - set(known)
        known |= {row.id: row for row in await self._found.conversations(tx, missing)} if missing else {}
        seen = await self._seen(tx, principal, known)
        known = {row.id: row for row in known.values() if row.owner_id == principal.id or row.id in seen}
        messages = [row for row in messages if row.conversation_id in known]
        await self._access.saw(tx, principal, "search", [row.id for row in messages])
        return Candidates(query, [row for row in titled if row.id in known], messages, known, seen, cut)

    async def ranked(self, candidates: Candidates, limit: int, after: int) -> Page:
        """Page of what really matches, best first, `after` so many. Opens the candidates, so not for the event loop's thread."""
        found, all_seen = await asyncio.get_running_loop().run_in_executor(self._threads, self._match, candidates)
        items = found[after : after + limit]
        return Page(items=items, next=after + limit if len(found) > after + limit else None, truncated=candidates.cut or not all_seen)

    def close(self) -> None:
        """Nobody searches any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _seen(self, tx: Transaction, principal: Principal, found: dict[uuid.UUID, Any]) -> dict[uuid.UUID, Conversation]:
        """Other people's conversations as this person sees them. One in which something was done that the person may not do is
        closed to them, so not found either; nor is one whose owner was erased."""
        seen = {}
        for row in found.values():
            conversation = self._opened(row) if row.owner_id != principal.id else None
            if conversation is not None:
                try:
                    await self._access.require_permissions(tx, principal, row.id)
                except SharedPermissionMissing:
                    continue
                await self._access.opened(tx, principal, row.id, "search")
                seen[row.id] = await self._access.seen(tx, principal, conversation, row.owner_id)
        return seen

    def _tokens(self, query: Query, subjects: set[uuid.UUID]) -> list[list[int]]:
        parts, found = sorted(query.parts()), []
        for subject in sorted(subjects)[:_SUBJECTS_MAX]:
            try:
                found.append(self._index.index.of_query(subject, parts))
            except Erased:
                continue
        return found

    def _match(self, candidates: Candidates) -> tuple[list[Listed], bool]:
        """What matches, best first, and whether there was time and room to open all candidates."""
        matcher, scores = Matcher(candidates.query), defaultdict[uuid.UUID, list[tuple[float, Match]]](list)
        for row in candidates.titled:
            if (text := self._text(row.title, f"conversation.title:{row.id}")) and (hit := matcher.match(text)):
                scores[row.id].append((hit[0] * _TITLE_WEIGHT, Match(message_id=None, role=None, created_at=None, snippet=hit[1])))
        left, until = self._limits.search_scan_chars, time.monotonic() + self._limits.search_seconds
        for row in candidates.messages:
            if left <= 0 or time.monotonic() > until:
                return self._ordered(candidates, scores), False
            text = self._text(row.body, f"message.body:{row.id}")
            left -= len(text)
            if hit := matcher.match(text):
                match = Match(message_id=row.id, role=row.role, created_at=row.created_at, snippet=hit[1])
                scores[row.conversation_id].append((hit[0], match))
        return self._ordered(candidates, scores), True

    def _ordered(self, candidates: Candidates, scores: dict[uuid.UUID, list[tuple[float, Match]]]) -> list[Listed]:
        ranked = []
        for conversation_id, matches in scores.items():
            matches.sort(key=lambda scored: scored[0], reverse=True)
            row = candidates.conversations[conversation_id]
            score = matches[0][0] + _MORE_WEIGHT * (len(matches) - 1)
            ranked.append((score, row.updated_at, row, tuple(match for _, match in matches[:_MATCHES_SHOWN])))
        ranked.sort(key=lambda found: (round(found[0], 1), found[1]), reverse=True)  # alike: the more recently used one
        opened = ((candidates.shared.get(row.id) or self._opened(row), matches) for _, _, row, matches in ranked)
        return [_listed(conversation, matches) for conversation, matches in opened if conversation is not None]

    def _opened(self, row: Any) -> Conversation | None:
        """None when its owner was erased."""
        try:
            return self._chats.open_conversation(row)
        except (Erased, Damaged):
            return None

    def _text(self, sealed: bytes, aad: str) -> str:
        """Empty for what was erased or is damaged: it matches nothing, and spoils nobody's search."""
        try:
            return self._vault.open(sealed, aad=aad).decode()
        except (Erased, Damaged):
            return ""


def _listed(conversation: Conversation, matches: tuple[Match, ...] = ()) -> Listed:
    return Listed(**{name: getattr(conversation, name) for name in Conversation.__dataclass_fields__}, matches=matches)
