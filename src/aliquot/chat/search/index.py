"""Tokens: what the database sees of words. Each is a 64-bit keyed hash (BLAKE2b) under a key derived from the subject's own, so
that the same word of two people has different tokens, and nobody's have any meaning once the subject is erased.

A word gives one token for each of its beginnings of PREFIX_MIN to PREFIX_MAX letters, and one for itself when it is shorter or
longer. Stems need none of their own: a stem is looked up by the beginning it shares with the word, and the opened text decides
(`matching`).
"""

import uuid
from collections.abc import Callable, Iterable
from hashlib import blake2b

from aliquot.chat.search.words import vocabulary
from aliquot.platform.vault import Vault

PREFIX_MIN, PREFIX_MAX = 3, 8
INDEXED_WORDS_MAX = 5_000
"""Different words of one message that are indexed; more are neither a person's nor a model's prose."""


def whole(word: str) -> bytes:
    """What is hashed for a whole word. One of PREFIX_MIN to PREFIX_MAX letters shares it with longer words that begin so."""
    return beginning(word, len(word)) if PREFIX_MIN <= len(word) <= PREFIX_MAX else b"=" + word.encode()


def beginning(word: str, length: int) -> bytes:
    """What is hashed for the first `length` letters of a word."""
    return b"<" + word[:length].encode()


class SearchIndex:
    """Makes tokens, of texts when they are written and of what somebody looks for."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def of_text(self, subject: uuid.UUID, text: str) -> list[int]:
        """The tokens of a message or title. Raises Erased."""
        return self._hash(subject, _parts(vocabulary(text, INDEXED_WORDS_MAX)))

    def of_query(self, subject: uuid.UUID, parts: Iterable[bytes]) -> list[int]:
        """The tokens that a text must have (all of them) to be looked at. Raises Erased."""
        return self._hash(subject, parts)

    def _hash(self, subject: uuid.UUID, parts: Iterable[bytes]) -> list[int]:
        fresh = blake2b(digest_size=8, key=self._vault.derive_for(subject, "chat.search")).copy
        integer: Callable[..., int] = int.from_bytes
        found = []
        for part in parts:
            digest = fresh()
            digest.update(part)
            found.append(integer(digest.digest(), "big", signed=True))
        return found


def _parts(found: set[str]) -> set[bytes]:
    parts = set()
    for word in found:
        parts.add(whole(word))
        for length in range(PREFIX_MIN, min(len(word), PREFIX_MAX) + 1):
            parts.add(beginning(word, length))
    return parts
