"""`python -m aliquot.documents.extract`: opens one hostile file, in a process of its own.

The file is standard input, the question one JSON argument, the answer one JSON object on standard output. Limits are set before
the file is touched; whoever started this also ends it when it takes too long. It has no environment, and no descriptors but those.
"""

import base64
import contextlib
import json
import resource
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import IO, Any

from aliquot.documents.contracts import IMAGES, Bounds, Kind
from aliquot.documents.readers.output import Enough, Output
from aliquot.documents.readers.refusal import Refused


class OutOfTime(BaseException):
    """Raised by the alarm; no library catches it."""


def main() -> None:
    """Read the question, set the limits, answer."""
    question = json.loads(sys.argv[1])
    bounds = Bounds(**question["bounds"])
    _limit(bounds)
    file = open(0, "rb", closefd=False)  # noqa: SIM115
    try:
        answer = _answer(file, question["promised"], bounds)
    except Refused as refused:
        answer = {"refused": refused.code, "detail": refused.detail}
    except MemoryError:
        answer = {"refused": "too_hard_to_read", "detail": None}
    except OutOfTime:
        answer = {"refused": "too_hard_to_read", "detail": None}
    except Exception:  # noqa: BLE001 - whatever a library stumbles over: the file is broken, and what it says may quote the file
        answer = {"refused": "broken_file", "detail": None}
    sys.stdout.write(json.dumps(answer))


def _limit(bounds: Bounds) -> None:
    for what, most in (
        (resource.RLIMIT_AS, bounds.memory_bytes),
        (resource.RLIMIT_CPU, int(bounds.seconds * 3) + 2),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        with contextlib.suppress(ValueError, OSError):  # a stricter limit stands already, or the system knows no such one
            resource.setrlimit(what, (most, most))
    sys.setrecursionlimit(2_000)
    signal.signal(signal.SIGALRM, _alarm)
    # Again and again: a library may swallow the first one in a place where nothing can be raised.
    signal.setitimer(signal.ITIMER_REAL, bounds.seconds, 0.25)


def _alarm(_number: int, _frame: FrameType | None) -> None:
    raise OutOfTime


def _answer(file: IO[bytes], promised: Kind | None, bounds: Bounds) -> dict[str, Any]:
    from aliquot.documents.sniff import kind_of  # noqa: PLC0415 - after the limits

    kind = kind_of(file, promised)
    if kind in IMAGES:
        return _image(file, kind, bounds)
    out, late = Output(bounds.text_chars), False
    try:
        _reader(kind)(file, out, bounds)
    except Enough:
        pass
    except OutOfTime:
        late = True
    signal.setitimer(signal.ITIMER_REAL, 0)
    read = out.text.strip()
    reading = ("partial" if read else "unreadable") if late else "partial" if out.cut else "read" if read else "no_text"
    return {"kind": kind, "reading": reading, "text": read.encode("utf-8", "replace").decode(), **out.facts}


def _reader(kind: Kind) -> Callable[[IO[bytes], Output, Bounds], None]:
    from aliquot.documents.readers import package, plain  # noqa: PLC0415

    if kind == "pdf":
        from aliquot.documents.readers.pdf import read_pdf  # noqa: PLC0415

        return read_pdf
    readers = {"xlsx": package.read_xlsx, "docx": package.read_docx, "csv": plain.read_csv}
    return readers.get(kind, plain.read_text)


def _image(file: IO[bytes], kind: Kind, bounds: Bounds) -> dict[str, Any]:
    from aliquot.documents.readers.image import read_image  # noqa: PLC0415

    picture = read_image(file, kind, bounds)
    shown_width, shown_height = picture.shown_size
    shown = {
        "media_type": picture.shown_type,
        "data": base64.b64encode(picture.shown).decode(),
        "width": shown_width,
        "height": shown_height,
    }
    return {"kind": kind, "reading": "no_text", "width": picture.width, "height": picture.height, "image": shown}


if __name__ == "__main__":
    main()
