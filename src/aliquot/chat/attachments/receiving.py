"""A multipart body on its way in: one file, into memory that has no name in any file system, counted and hashed while it arrives."""

import asyncio
import hashlib
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from aliquot.chat.attachments.errors import ChecksumMismatch, FileTooLarge, NotAnUpload, UploadCut, UploadTooSlow

_READ = 262_144
_FIELD_BYTES = 1_024
_FIELDS = 10
_DRAINED_BYTES = 16_000_000
"""Read and thrown away of a body that is too large, so that a client still sending hears the answer instead of a reset."""
_DIGEST = re.compile(r"^[0-9a-fA-F]{64}$")


@dataclass(slots=True)
class Received:
    """A file that arrived whole. Its bytes lie in memory, never on disk in clear (memfd; where there is none, an unlinked file)."""

    file: Any
    name: str = ""
    size: int = 0
    sha256: str = ""
    fields: dict[str, str] = field(default_factory=dict)

    def pieces(self) -> Iterator[bytes]:
        """The content from the start; does not move the descriptor's position, which the reading process shares."""
        at = 0
        while data := os.pread(self.file.fileno(), _READ, at):
            yield data
            at += len(data)

    def close(self) -> None:
        self.file.close()


def _unnamed() -> Any:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("upload", os.MFD_CLOEXEC), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


async def receive(body: AsyncIterator[bytes], content_type: str, *, most: int, seconds: float, expected: str | None) -> Received:
    """The one file of `body`. `expected` (or a form field `sha256`) is the SHA-256 it must have, in hexadecimal.

    Raises NotAnUpload, FileTooLarge, UploadCut, UploadTooSlow, ChecksumMismatch; nothing is left behind then.
    """
    parts = _Parts(content_type, most)
    try:
        async with asyncio.timeout(seconds):
            await parts.read(body)
        received = parts.whole()
        wanted = expected or received.fields.get("sha256")
        if wanted is not None and (not _DIGEST.match(wanted) or wanted.lower() != received.sha256):
            raise ChecksumMismatch
    except TimeoutError:
        parts.received.close()
        raise UploadTooSlow from None
    except BaseException:
        parts.received.close()
        raise
    return received


async def steady(body: AsyncIterator[bytes], *, idle: float, rate: int) -> AsyncIterator[bytes]:
    """`body` while it keeps coming. Raises UploadTooSlow after `idle` seconds without data, and when from then on less than `rate` bytes
    a second have come on average: whoever sends nothing takes nobody's place."""
    clock = asyncio.get_running_loop().time
    began, came = clock(), 0
    while True:
        try:
            async with asyncio.timeout(idle):
                data = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise UploadTooSlow from None
        came += len(data)
        took = clock() - began
        if took > idle and came < rate * took:
            raise UploadTooSlow
        yield data


class _Parts:
    """Callbacks of the parser: the file's bytes go to the descriptor, small fields into a dict."""

    def __init__(self, content_type: str, most: int) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 200:
            raise NotAnUpload
        self._most, self._hash, self._ended, self._too_large = most, hashlib.sha256(), False, False
        self._header, self._value, self._disposition = bytearray(), bytearray(), b""
        self._field: str | None = None
        self._text = bytearray()
        self._files = self._fields = 0
        self.received = Received(_unnamed())
        self._parser = MultipartParser(boundary, {
            "on_part_begin": self._begin, "on_part_data": self._data, "on_part_end": self._end, "on_header_begin": self._next_header,
            "on_header_field": self._name, "on_header_value": self._said, "on_header_end": self._header_end,
            "on_headers_finished": self._headers, "on_end": self._finish,
        })  # fmt: skip

    async def read(self, body: AsyncIterator[bytes]) -> None:
        drained = 0
        try:
            async for data in body:
                if self._too_large:
                    drained += len(data)
                    if drained > _DRAINED_BYTES:
                        break
                elif data:
                    self._parser.write(data)
        except FormParserError:
            raise NotAnUpload from None
        if self._too_large:
            raise FileTooLarge(f"A file may have {self._most:,} bytes.")

    def whole(self) -> Received:
        if not self._ended:
            raise UploadCut
        if self._files != 1:
            raise NotAnUpload
        self.received.sha256 = self._hash.hexdigest()
        return self.received

    def _begin(self) -> None:
        self._disposition, self._field = b"", None
        self._text.clear()

    def _next_header(self) -> None:
        self._header.clear()
        self._value.clear()

    def _name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _said(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)

    def _headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" in options:
            self._files += 1
            if self._files > 1:
                raise NotAnUpload
            self.received.name = _decoded(options[b"filename"])
            return
        self._fields += 1
        if self._fields > _FIELDS:
            raise NotAnUpload
        self._field = _decoded(options.get(b"name", b""))[:100]

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field is not None:
            self._text += data[start:end]
            if len(self._text) > _FIELD_BYTES:
                raise NotAnUpload
            return
        piece = data[start:end]
        self.received.size += len(piece)
        if self.received.size > self._most:
            self._too_large = True
        if not self._too_large:
            self._hash.update(piece)
            self.received.file.write(piece)

    def _end(self) -> None:
        if self._field is not None:
            self.received.fields[self._field] = _decoded(bytes(self._text)).strip()

    def _finish(self) -> None:
        self._ended = True


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
