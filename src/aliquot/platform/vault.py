"""Keys and encryption at rest (DESIGN §5): a root key wraps one data key per subject; everything a person or model wrote is
AES-256-GCM with the row's identity as associated data.

Wrapped subject keys are in a `key_store`, never in PostgreSQL; the root key comes from `root_keys`. Erasing a subject destroys its
key. Keys for other purposes are derived from a secret of the site that lies among the subject keys, so that they survive a
rotation of the root key.
"""

import hashlib
import hmac
import os
import secrets
import threading
import uuid
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aliquot.kernel.problems import Problem
from aliquot.platform.key_store import NONCE, KeyFile
from aliquot.platform.root_keys import GivenRootKeys, RootKeyError, RootKeys, load_root_key

__all__ = ["SITE", "Damaged", "Erased", "RootKeyError", "Vault", "load_root_key", "rewrap"]

SITE = uuid.UUID(int=0)
"""The subject of what belongs to no person: settings, shared laboratory records."""
_DERIVING = uuid.UUID(int=1)
"""Not a subject: the secret that `derive` derives from."""
_KEPT = (SITE, _DERIVING)

_NONCES = 256
_VERSION = b"\x01"


class Erased(Problem):
    """The subject's key no longer exists: what it protected cannot be read by anybody."""

    code, status, sentence = "erased", 410, "This content was erased."


class Damaged(Problem):
    """A ciphertext did not open: it was altered, or moved from another row."""

    code, status, sentence = "content_damaged", 500, "Stored content is damaged and was not shown."


class Vault:
    """Seals and opens content, derives keys. Thread-safe. Everything is quick except `ensure_subject`, `erase` and `rotate_root`,
    which wait for the disk."""

    def __init__(self, root: bytes | RootKeys, folder: Path) -> None:
        """`root`: the key itself, or where it comes from. Raises RootKeyError."""
        self._roots: RootKeys = GivenRootKeys(root) if isinstance(root, bytes) else root
        self._store = KeyFile(folder)
        self._wrapped: dict[bytes, bytes] = {}
        self._keys: dict[uuid.UUID, tuple[bytes, AESGCM]] = {}
        self._nonces: list[bytes] = []
        self._lock = threading.Lock()
        with self._lock, self._store.locked(alone=True):
            self._wrapped = self._store.read(anew=True)
            self._root = self._settled_root()
            if _DERIVING.bytes not in self._wrapped:
                # Installations made before there was such a secret derived from the root key itself.
                self._add(_DERIVING, self._root if self._wrapped else secrets.token_bytes(32))
            if SITE.bytes not in self._wrapped:
                self._add(SITE, secrets.token_bytes(32))
            self._deriving = self._unwrapped(_DERIVING)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for `purpose` (HMAC-SHA256), the same wherever the site's keys are; a new root key does not change them."""
        return hmac.digest(self._deriving, b"aliquot/derive/" + purpose.encode(), "sha256")

    def derive_for(self, subject: uuid.UUID, purpose: str) -> bytes:
        """32 bytes for `purpose`, derived from the subject's own key: what was made with them means nothing once the subject is
        erased. Raises Erased when it is."""
        return hmac.digest(self._key(subject)[0], b"aliquot/derive/" + purpose.encode(), "sha256")

    def ensure_subject(self, subject: uuid.UUID) -> None:
        """Make a data key for `subject` unless it has one. Durable when it returns."""
        if subject in self._keys:
            return
        with self._lock, self._store.locked(alone=True):
            self._catch_up()
            if subject.bytes not in self._wrapped:
                self._add(subject, secrets.token_bytes(32))

    def seal(self, subject: uuid.UUID, plaintext: bytes, *, aad: str) -> bytes:
        """Encrypt under the subject's key. `aad` names the place, e.g. `message.body:<id>`; only the same `aad` opens it."""
        nonce = self._nonce()
        return _VERSION + subject.bytes + nonce + self._key(subject)[1].encrypt(nonce, plaintext, aad.encode())

    def open(self, sealed: bytes, *, aad: str) -> bytes:
        """The plaintext of `sealed`. Raises Erased when the key is gone, Damaged when it does not authenticate."""
        subject = self.subject_of(sealed)
        nonce = sealed[17 : 17 + NONCE]
        try:
            return self._key(subject)[1].decrypt(nonce, sealed[17 + NONCE :], aad.encode())
        except InvalidTag as error:
            raise Damaged from error

    @staticmethod
    def subject_of(sealed: bytes) -> uuid.UUID:
        """Under whose key `sealed` is. Raises Damaged for what is no sealed content."""
        if len(sealed) < 17 + NONCE + 16 or sealed[:1] != _VERSION:
            raise Damaged
        return uuid.UUID(bytes=bytes(sealed[1:17]))

    def commit(self, subject: uuid.UUID, plaintext: bytes) -> tuple[str, str]:
        """(HMAC-SHA256 hex, key id) of `plaintext` under the subject's key: the commitment an audit event carries."""
        key = hmac.digest(self._key(subject)[0], b"aliquot/commit", "sha256")
        return hmac.new(key, plaintext, hashlib.sha256).hexdigest(), str(subject)

    def knows(self, subject: uuid.UUID) -> bool:
        """Whether the subject has a key."""
        try:
            self._key(subject)
        except Erased:
            return False
        return True

    def erase(self, subject: uuid.UUID) -> None:
        """Destroy the subject's key: everything sealed under it becomes unreadable. Durable when it returns; repeating it does
        nothing. Raises ValueError for the site's own keys."""
        if subject in _KEPT:
            raise ValueError("the site's own keys are never destroyed")
        with self._lock, self._store.locked(alone=True):
            self._catch_up()
            if subject.bytes in self._wrapped:
                del self._wrapped[subject.bytes]
                self._store.replace(self._wrapped)
                self._reload()

    def forget_erased(self) -> None:
        """Drop the keys that another process destroyed. Every seal and open does it first; an idle process does it by a loop."""
        if self._store.replaced():
            with self._lock, self._store.locked(alone=False):
                self._reload()

    def rotate_root(self) -> int:
        """Wrap all keys with a new root key and put it into force; how many keys. A crash leaves the old state or the new one.

        Raises RootKeyError when the root keys cannot be replaced from here and none was staged.
        """
        with self._lock, self._store.locked(alone=True):
            self._reload()
            fresh = self._roots.staged()
            if fresh is None:
                fresh = secrets.token_bytes(32)
            self._roots.stage(fresh)
            self._store.replace(rewrap(self._wrapped, self._root, fresh))
            self._roots.adopt()
            self._root = fresh
            self._reload()
            return len(self._wrapped)

    def _settled_root(self) -> bytes:
        """The root key in force. A rotation that was interrupted is finished, or forgotten if it came to nothing."""
        root, staged = self._roots.load(), self._roots.staged()
        if staged is not None and self._wrapped and not self._opens(root) and self._opens(staged):
            self._roots.adopt()
            return staged
        if not self._opens(root):
            raise RootKeyError("the subject keys were wrapped with another root key, or the key file is damaged")
        if staged is not None:
            self._roots.discard()
        return root

    def _opens(self, root: bytes) -> bool:
        """Whether `root` opens the keys; one of them stands for all, because all are wrapped at once."""
        if not self._wrapped:
            return True
        probe = SITE.bytes if SITE.bytes in self._wrapped else next(iter(self._wrapped))
        try:
            _unwrap(AESGCM(root), probe, self._wrapped[probe])
        except InvalidTag:
            return False
        return True

    def _nonce(self) -> bytes:
        """12 random bytes; drawn in blocks, because asking the kernel costs as much as encrypting a short text."""
        try:
            return self._nonces.pop()
        except IndexError:
            block = os.urandom(NONCE * _NONCES)
            self._nonces += [block[at : at + NONCE] for at in range(0, len(block), NONCE)]
            return os.urandom(NONCE)

    def _key(self, subject: uuid.UUID) -> tuple[bytes, AESGCM]:
        if self._store.replaced():
            self.forget_erased()
        key = self._keys.get(subject)
        return key if key is not None else self._found(subject)

    def _found(self, subject: uuid.UUID) -> tuple[bytes, AESGCM]:
        with self._lock:
            if subject.bytes not in self._wrapped:
                with self._store.locked(alone=False):
                    self._catch_up()
            if subject.bytes not in self._wrapped or subject == _DERIVING:
                raise Erased
            try:
                key = self._unwrapped(subject)
            except InvalidTag as error:
                raise Damaged from error
            self._keys[subject] = key, AESGCM(key)
            return self._keys[subject]

    def _unwrapped(self, subject: uuid.UUID) -> bytes:
        return _unwrap(AESGCM(self._root), subject.bytes, self._wrapped[subject.bytes])

    def _add(self, subject: uuid.UUID, key: bytes) -> None:
        nonce = secrets.token_bytes(NONCE)
        wrapped = nonce + AESGCM(self._root).encrypt(nonce, key, b"subject" + subject.bytes)
        self._store.add(subject.bytes, wrapped)
        self._wrapped[subject.bytes] = wrapped

    def _catch_up(self) -> None:
        if self._store.replaced():
            self._reload()
        else:
            self._wrapped |= self._store.read(anew=False)

    def _reload(self) -> None:
        """Another process destroyed a key or wrapped all anew: forget what was unwrapped."""
        self._wrapped = self._store.read(anew=True)
        self._keys.clear()
        if not self._opens(self._root):
            self._root = self._newer_root()

    def _newer_root(self) -> bytes:
        for root in (self._roots.load(), self._roots.staged()):
            if root is not None and self._opens(root):
                return root
        raise RootKeyError("the subject keys were wrapped with another root key, or the key file is damaged")


def rewrap(keys: dict[bytes, bytes], old: bytes, new: bytes) -> dict[bytes, bytes]:
    """All wrapped keys, wrapped with `new` instead of `old`. Raises RootKeyError for one that does not open. Pure but for chance."""
    opening, closing = AESGCM(old), AESGCM(new)
    nonces = os.urandom(NONCE * len(keys))
    result = {}
    try:
        for n, (subject, wrapped) in enumerate(keys.items()):
            nonce, name = nonces[n * NONCE : (n + 1) * NONCE], b"subject" + subject
            result[subject] = nonce + closing.encrypt(nonce, opening.decrypt(wrapped[:NONCE], wrapped[NONCE:], name), name)
    except InvalidTag as error:
        raise RootKeyError("a subject key is damaged: nothing was rotated; restore the newest keys back-up first") from error
    return result


def _unwrap(root: AESGCM, subject: bytes, wrapped: bytes) -> bytes:
    return root.decrypt(wrapped[:NONCE], wrapped[NONCE:], b"subject" + subject)
