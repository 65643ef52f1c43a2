"""Keys and encryption at rest (DESIGN §5): a root key wraps one data key per subject; everything a person or model wrote is
AES-256-GCM with the row's identity as associated data.

Wrapped subject keys live in `keys/subjects` under the data folder, never in PostgreSQL: an append-only file of fixed-size
records, fsynced on every change and shared by the processes of one host under an flock. Erasing a subject rewrites the
file without its record.
"""

import base64
import binascii
import fcntl
import hashlib
import hmac
import os
import secrets
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aliquot.kernel.problems import Problem

SITE = uuid.UUID(int=0)
"""The subject of what belongs to no person: settings, shared laboratory records."""

_NONCE = 12
_NONCES = 256
_WRAPPED = _NONCE + 32 + 16
_RECORD = 16 + _WRAPPED
_VERSION = b"\x01"


class Erased(Problem):
    """The subject's key no longer exists: what it protected cannot be read by anybody."""

    code, status, sentence = "erased", 410, "This content was erased."


class Damaged(Problem):
    """A ciphertext did not open: it was altered, or moved from another row."""

    code, status, sentence = "content_damaged", 500, "Stored content is damaged and was not shown."


class RootKeyError(Exception):
    """The root key is missing, malformed, or not the one the subject keys were wrapped with."""


class Vault:
    """Seals and opens content, derives keys. Thread-safe; all methods are quick (no network)."""

    def __init__(self, root_key: bytes, folder: Path) -> None:
        if len(root_key) != 32:
            raise RootKeyError("the root key must be 32 bytes")
        self._root = root_key
        self._path = folder / "subjects"
        self._watched = str(self._path)
        self._keys: dict[uuid.UUID, tuple[bytes, AESGCM]] = {}
        self._nonces: list[bytes] = []
        self._seen = 0
        self._inode = -1
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        with self._lock, self._locked(fcntl.LOCK_EX):
            self._drop_torn_tail()
            self._read_new()
        if SITE not in self._keys:
            self.ensure_subject(SITE)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for `purpose`, derived from the root key (HMAC-SHA256); the same on every host of the site."""
        return hmac.digest(self._root, b"aliquot/derive/" + purpose.encode(), "sha256")

    def derive_for(self, subject: uuid.UUID, purpose: str) -> bytes:
        """32 bytes for `purpose`, derived from the subject's own key: what was made with them means nothing once the subject is
        erased. Raises Erased when it is."""
        return hmac.digest(self._key(subject)[0], b"aliquot/derive/" + purpose.encode(), "sha256")

    def ensure_subject(self, subject: uuid.UUID) -> None:
        """Make a data key for `subject` unless it has one. Durable when it returns."""
        if subject in self._keys:
            return
        with self._lock, self._locked(fcntl.LOCK_EX):
            self._read_new()
            if subject in self._keys:
                return
            key = secrets.token_bytes(32)
            nonce = secrets.token_bytes(_NONCE)
            record = subject.bytes + nonce + AESGCM(self._root).encrypt(nonce, key, b"subject" + subject.bytes)
            with self._path.open("ab") as file:
                file.write(record)
                file.flush()
                os.fsync(file.fileno())
            self._keys[subject] = (key, AESGCM(key))
            self._seen += _RECORD

    def seal(self, subject: uuid.UUID, plaintext: bytes, *, aad: str) -> bytes:
        """Encrypt under the subject's key. `aad` names the place, e.g. `message.body:<id>`; only the same `aad` opens it."""
        nonce = self._nonce()
        return _VERSION + subject.bytes + nonce + self._key(subject)[1].encrypt(nonce, plaintext, aad.encode())

    def open(self, sealed: bytes, *, aad: str) -> bytes:
        """The plaintext of `sealed`. Raises Erased when the key is gone, Damaged when it does not authenticate."""
        subject = self.subject_of(sealed)
        nonce = sealed[17 : 17 + _NONCE]
        try:
            return self._key(subject)[1].decrypt(nonce, sealed[17 + _NONCE :], aad.encode())
        except InvalidTag as error:
            raise Damaged from error

    @staticmethod
    def subject_of(sealed: bytes) -> uuid.UUID:
        """Under whose key `sealed` is. Raises Damaged for what is no sealed content."""
        if len(sealed) < 17 + _NONCE + 16 or sealed[:1] != _VERSION:
            raise Damaged
        return uuid.UUID(bytes=bytes(sealed[1:17]))

    def commit(self, subject: uuid.UUID, plaintext: bytes) -> tuple[str, str]:
        """(HMAC-SHA256 hex, key id) of `plaintext` under the subject's key: the commitment an audit event carries."""
        key = hmac.digest(self._key(subject)[0], b"aliquot/commit", "sha256")
        return hmac.new(key, plaintext, hashlib.sha256).hexdigest(), str(subject)

    def erase(self, subject: uuid.UUID) -> None:
        """Destroy the subject's key: everything sealed under it becomes unreadable. Durable when it returns."""
        with self._lock, self._locked(fcntl.LOCK_EX):
            data = self._path.read_bytes()
            kept = b"".join(r for r in _records(data) if r[:16] != subject.bytes)
            replacement = self._path.with_suffix(".new")
            with replacement.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(kept)
                file.flush()
                os.fsync(file.fileno())
            replacement.rename(self._path)
            _fsync_folder(self._path.parent)
            self._reload()

    def _nonce(self) -> bytes:
        """12 random bytes; drawn in blocks, because asking the kernel costs as much as encrypting a short text."""
        try:
            return self._nonces.pop()
        except IndexError:
            block = os.urandom(_NONCE * _NONCES)
            self._nonces += [block[at : at + _NONCE] for at in range(0, len(block), _NONCE)]
            return os.urandom(_NONCE)

    def _key(self, subject: uuid.UUID) -> tuple[bytes, AESGCM]:
        self._notice_erasure()
        key = self._keys.get(subject)
        if key is None:
            with self._lock, self._locked(fcntl.LOCK_SH):
                self._read_new()
            key = self._keys.get(subject)
        if key is None:
            raise Erased
        return key

    def _notice_erasure(self) -> None:
        """Another process erased a subject: the file was replaced, so read it anew and forget the key."""
        if os.stat(self._watched).st_ino != self._inode:  # noqa: PTH116 - at every seal and open; pathlib takes ten times as long
            with self._lock, self._locked(fcntl.LOCK_SH):
                self._reload()

    def _reload(self) -> None:
        self._keys.clear()
        self._seen = 0
        self._read_new()

    def _read_new(self) -> None:
        with self._path.open("rb") as file:
            self._inode = os.fstat(file.fileno()).st_ino
            file.seek(self._seen)
            data = file.read()
        for record in _records(data):
            subject = uuid.UUID(bytes=record[:16])
            nonce = record[16 : 16 + _NONCE]
            try:
                key = AESGCM(self._root).decrypt(nonce, record[16 + _NONCE :], b"subject" + record[:16])
            except InvalidTag as error:
                raise RootKeyError("the subject keys were wrapped with another root key, or the key file is damaged") from error
            self._keys[subject] = (key, AESGCM(key))
            self._seen += _RECORD

    def _drop_torn_tail(self) -> None:
        """A crash while appending leaves an incomplete last record; its key was never used, so it is cut off."""
        size = self._path.stat().st_size
        if size % _RECORD:
            with self._path.open("r+b") as file:
                file.truncate(size - size % _RECORD)
                os.fsync(file.fileno())

    @contextmanager
    def _locked(self, mode: int) -> Iterator[None]:
        with (self._path.parent / "subjects.lock").open("a") as file:
            fcntl.flock(file, mode)
            yield


def _records(data: bytes) -> Iterator[bytes]:
    return (data[at : at + _RECORD] for at in range(0, len(data) - len(data) % _RECORD, _RECORD))


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_root_key(configured: str | None, folder: Path) -> bytes:
    """The root key: from the settings (64 hex digits or base64 of 32 bytes), else `folder/root`, made at the first start.

    Raises RootKeyError with a sentence for the administrator.
    """
    if configured:
        return _parse_root_key(configured.strip(), "ALIQUOT_ROOT_KEY")
    path = folder / "root"
    if path.exists():
        return _parse_root_key(path.read_text().strip(), str(path))
    if (folder / "subjects").exists():
        raise RootKeyError(f"{path} is missing, but keys wrapped with it exist: restore it from its safe place")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = secrets.token_bytes(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    _fsync_folder(folder)
    return key


def _parse_root_key(text: str, where: str) -> bytes:
    for decode in (bytes.fromhex, lambda t: base64.b64decode(t, validate=True)):
        try:
            key = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(key) == 32:
            return key
    raise RootKeyError(f"{where} does not hold a root key (64 hexadecimal digits, or base64 of 32 bytes)")
