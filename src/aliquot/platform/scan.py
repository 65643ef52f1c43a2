"""Malware scan by clamd over TCP (INSTREAM).

Our own client: aioclamd 1.1 sends pieces of 1 KiB with a thread hop each (10 MB: ten thousand), takes only a synchronous file,
and loses clamd's answer when clamd stops listening at its StreamMaxLength.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from aliquot.kernel.problems import Problem, Unavailable

log = structlog.get_logger(__name__)

_PIECE = 131_072
_ANSWER_BYTES = 4_096
_FOUND = re.compile(r"^stream: (.{1,300}) FOUND$")


class ScannerDown(Unavailable):
    code, sentence = "scanner_down", "The malware scanner cannot be reached at the moment."


class TooLargeToScan(Problem):
    code, status, sentence = "too_large_to_scan", 413, "The file is larger than the malware scanner takes (its StreamMaxLength)."


@dataclass(frozen=True, slots=True)
class Verdict:
    """`signature` is what was found; None for a clean file."""

    signature: str | None


class Scanner:
    """One clamd. A call takes a connection of its own and at most `seconds`."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self._host, self._port, self._seconds = host, port, seconds

    async def scan(self, pieces: Iterable[bytes]) -> Verdict:
        """What clamd says of the content. Raises ScannerDown (away, too slow, or not clamd) and TooLargeToScan."""
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._ask(pieces)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.warning("scanner_down", error=type(error).__name__)
            raise ScannerDown from error
        if answer == "stream: OK":
            return Verdict(None)
        if found := _FOUND.match(answer):
            return Verdict(found[1])
        if "size limit exceeded" in answer:
            raise TooLargeToScan
        log.warning("scanner_answer_unknown")
        raise ScannerDown

    async def _ask(self, pieces: Iterable[bytes]) -> str:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        # Listened to from the start: clamd answers and hangs up in the middle when the file passes its limit.
        answer = asyncio.create_task(_answer(reader))
        try:
            with contextlib.suppress(ConnectionError):
                await _send(writer, pieces, answer)
            return (await answer).rstrip(b"\0\n").decode("utf-8", "replace")
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _send(writer: asyncio.StreamWriter, pieces: Iterable[bytes], answer: asyncio.Task[bytes]) -> None:
    writer.write(b"zINSTREAM\0")
    for data in pieces:
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            writer.write(len(piece).to_bytes(4, "big") + piece)
            await writer.drain()
        await asyncio.sleep(0)
        if answer.done():
            return
    writer.write(bytes(4))
    await writer.drain()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    answer = bytearray()
    with contextlib.suppress(ConnectionError):
        while len(answer) < _ANSWER_BYTES and (data := await reader.read(_ANSWER_BYTES)):
            answer += data
            if answer.endswith(b"\0"):
                break
    return bytes(answer)
