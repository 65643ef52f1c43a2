"""Where the root key comes from: a file, the environment, or a file that only a key management service (KMS) can open.

A KMS is asked once per start, for the root key; subject keys are wrapped by the root key itself, or a million of them could not
be rotated in a minute. A plug-in is a callable without arguments that gives a `KeyWrapper`: `ALIQUOT_KMS=package.module:callable`.
"""

import base64
import binascii
import importlib
import os
import secrets
from pathlib import Path
from typing import Protocol

_KEY_BYTES = 32


class RootKeyError(Exception):
    """The root key is missing, malformed, or not the one the subject keys were wrapped with."""


class KeyWrapper(Protocol):
    """A KMS: wraps and unwraps one small secret with a key that never leaves it. May block; raises whatever it likes."""

    def wrap(self, secret: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes) -> bytes: ...


class RootKeys(Protocol):
    """The root key in force, and during a rotation the one that is to follow it."""

    replaceable: bool
    """Whether a rotation can put its new key in place by itself."""

    def load(self) -> bytes:
        """Raises RootKeyError with a sentence for the administrator."""
        ...

    def staged(self) -> bytes | None:
        """The key a rotation prepared, if there is one."""
        ...

    def stage(self, key: bytes) -> None:
        """Keep `key` beside the one in force; durable when it returns."""
        ...

    def adopt(self) -> None:
        """Put the staged key into force; durable when it returns."""
        ...

    def discard(self) -> None:
        """Forget the staged key: its rotation did not come about."""
        ...


class GivenRootKeys:
    """Keys that come with the process (environment). Its operator puts the new one in place."""

    replaceable = False

    def __init__(self, key: bytes, following: bytes | None = None) -> None:
        for each in (key, following):
            if each is not None and len(each) != _KEY_BYTES:
                raise RootKeyError("the root key must be 32 bytes")
        self._key, self._following = key, following

    def load(self) -> bytes:
        return self._key

    def staged(self) -> bytes | None:
        return self._following

    def stage(self, key: bytes) -> None:
        if key != self._following:
            raise RootKeyError("the next root key must be given by ALIQUOT_ROOT_KEY_NEXT")

    def adopt(self) -> None:
        """Nothing to do: the staged key opens what is wrapped with it from now on."""

    def discard(self) -> None:
        """Nothing to do: an unused key in the environment harms nobody."""


class FileRootKeys:
    """A file (0600) in the keys folder, made at the first start: 64 hexadecimal digits, or what the KMS made of the key."""

    replaceable = True

    def __init__(self, folder: Path, wrapper: KeyWrapper | None = None) -> None:
        self._folder, self._wrapper = folder, wrapper
        self._path = folder / ("root" if wrapper is None else "root.wrapped")
        self._next = self._path.with_name(self._path.name + ".next")

    def load(self) -> bytes:
        if self._path.exists():
            return self._read(self._path)
        subjects = self._folder / "subjects"
        if subjects.exists() and subjects.stat().st_size:
            raise RootKeyError(f"{self._path} is missing, but keys wrapped with it exist: restore it from its safe place")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = secrets.token_bytes(_KEY_BYTES)
        self._write(self._path, key)
        return key

    def staged(self) -> bytes | None:
        try:
            return self._read(self._next) if self._next.exists() else None
        except RootKeyError:  # a crash while it was written: nothing is wrapped with it
            return None

    def stage(self, key: bytes) -> None:
        self._next.unlink(missing_ok=True)
        self._write(self._next, key)

    def adopt(self) -> None:
        self._next.rename(self._path)
        fsync_folder(self._folder)

    def discard(self) -> None:
        self._next.unlink(missing_ok=True)

    def _read(self, path: Path) -> bytes:
        text = path.read_text().strip()
        if self._wrapper is None:
            return parse_root_key(text, str(path))
        try:
            key = self._wrapper.unwrap(base64.b64decode(text, validate=True))
        except Exception as error:
            raise RootKeyError(f"the key management service did not unwrap {path} ({type(error).__name__})") from error
        if len(key) != _KEY_BYTES:
            raise RootKeyError(f"{path} does not hold a root key")
        return key

    def _write(self, path: Path, key: bytes) -> None:
        text = key.hex() if self._wrapper is None else self._wrapped(key)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        fsync_folder(self._folder)

    def _wrapped(self, key: bytes) -> str:
        assert self._wrapper is not None  # noqa: S101 - asked by `_write` only
        try:
            return base64.b64encode(self._wrapper.wrap(key)).decode()
        except Exception as error:
            raise RootKeyError(f"the key management service did not wrap the root key ({type(error).__name__})") from error


def root_keys(folder: Path, *, configured: str | None = None, following: str | None = None, kms: str | None = None) -> RootKeys:
    """The site's root keys: from the settings, else from a KMS, else from a file. Raises RootKeyError."""
    if configured:
        after = parse_root_key(following.strip(), "ALIQUOT_ROOT_KEY_NEXT") if following else None
        return GivenRootKeys(parse_root_key(configured.strip(), "ALIQUOT_ROOT_KEY"), after)
    return FileRootKeys(folder, None if kms is None else load_wrapper(kms))


def load_wrapper(dotted: str) -> KeyWrapper:
    """The plug-in `package.module:callable`. Raises RootKeyError."""
    module, _, name = dotted.partition(":")
    try:
        wrapper: KeyWrapper = getattr(importlib.import_module(module), name)()
    except Exception as error:
        raise RootKeyError(f"ALIQUOT_KMS={dotted} cannot be loaded ({type(error).__name__})") from error
    if not callable(getattr(wrapper, "wrap", None)) or not callable(getattr(wrapper, "unwrap", None)):
        raise RootKeyError(f"ALIQUOT_KMS={dotted} gives nothing that can wrap and unwrap")
    return wrapper


def load_root_key(configured: str | None, folder: Path) -> bytes:
    """The root key from the settings, else `folder/root`, made at the first start. Raises RootKeyError."""
    return root_keys(folder, configured=configured).load()


def parse_root_key(text: str, where: str) -> bytes:
    """64 hexadecimal digits, or base64 of 32 bytes. Raises RootKeyError, which does not repeat the text."""
    for decode in (bytes.fromhex, lambda t: base64.b64decode(t, validate=True)):
        try:
            key = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(key) == _KEY_BYTES:
            return key
    raise RootKeyError(f"{where} does not hold a root key (64 hexadecimal digits, or base64 of 32 bytes)")


def fsync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
