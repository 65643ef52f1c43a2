"""Attached files as a language model gets them, and what is said of them where there is no model."""

import uuid
from collections.abc import Sequence
from typing import Any

from aliquot.chat.attachments.contracts import Facts
from aliquot.chat.attachments.store import AttachmentStore
from aliquot.chat.contracts import Message
from aliquot.documents.contracts import IMAGES
from aliquot.kernel.problems import Problem
from aliquot.models.contracts import FilePart, ImagePart
from aliquot.platform.blobs import Blobs
from aliquot.platform.db import Database

_CHARS_MAX = 2_000_000
"""Text loaded for one turn; a model's window is far smaller."""
_IMAGES_MAX = 8
_FILES_MAX = 40
_EXTRACT_BYTES = 16_000_000
_PROBLEMS = {
    "deleted": "It was deleted.", "infected": "The malware scanner found something in it; it was deleted.",
    "quarantined": "It still waits for the malware scan, so nobody can read it yet.",
}  # fmt: skip

Files = dict[uuid.UUID, tuple[FilePart, ...]]


class FileReader:
    """Loads what was read of the files of a branch. The branch was found for a person who may read it."""

    def __init__(self, db: Database, store: AttachmentStore, blobs: Blobs) -> None:
        self._db, self._store, self._blobs = db, store, blobs

    async def of(self, messages: Sequence[Message]) -> Files:
        """The files of each message that has some; the newest first get what may be loaded in all."""
        named = {message.id: attached(message) for message in messages if attached(message)}
        if not named:
            return {}
        async with self._db.begin() as tx:
            rows = await self._store.many(tx, [attachment_id for ids in named.values() for attachment_id in ids])
        room = {"chars": _CHARS_MAX, "images": _IMAGES_MAX, "files": _FILES_MAX}
        files: Files = {}
        for message in reversed(messages):
            if message.id in named:
                files[message.id] = tuple([await self._part(rows.get(i), room) for i in named[message.id]])
        return files

    async def _part(self, row: Any, room: dict[str, int]) -> FilePart:
        if row is None or row.state in _PROBLEMS or row.facts is None:
            return FilePart(name="(a file)", kind="file", problem=_PROBLEMS.get(row.state if row is not None else "deleted"))
        try:
            facts = self._store.facts(row)
            if row.extract_id is None:
                return _without_text(facts)
            wanted = "images" if facts.kind in IMAGES else "chars"
            if room[wanted] <= 0 or room["files"] <= 0:
                return FilePart(name=facts.name, kind=facts.kind, pages=facts.pages, problem="It is too far back to be read again.")
            data = await self._blobs.read(row.extract_id, _EXTRACT_BYTES)
        except Problem as problem:
            return FilePart(name="(a file)", kind="file", problem=problem.sentence)
        room["files"] -= 1
        if facts.kind in IMAGES:
            room["images"] -= 1
            return _image(facts, data)
        text = data.decode()[: room["chars"]]
        room["chars"] -= len(text)
        return FilePart(name=facts.name, kind=facts.kind, pages=facts.pages, text=text, cut=facts.reading == "partial")


def _without_text(facts: Facts) -> FilePart:
    reason = {
        "no_text": "No text was found in it (a scan, or an empty file).",
        "unreadable": "It took too long to read.",
    }.get(facts.reading)
    return FilePart(name=facts.name, kind=facts.kind, pages=facts.pages, problem=reason)


def _image(facts: Facts, data: bytes) -> FilePart:
    image = ImagePart(media_type=facts.shown_type or "image/png", data=data, width=facts.shown_width, height=facts.shown_height)
    return FilePart(name=facts.name, kind=facts.kind, image=image)


def attached(message: Message) -> tuple[uuid.UUID, ...]:
    """The files a message names."""
    return tuple(uuid.UUID(text) for text in message.metadata.get("attachments", ()))


def received(parts: Sequence[FilePart]) -> str:
    """What is said of files where no model can read them."""
    names = "\n".join(f"- {_plain(part.name)}{f': {part.problem}' if part.problem else ''}" for part in parts)
    return (
        f"I received {'this file' if len(parts) == 1 else 'these files'}:\n\n{names}\n\n"
        "No language model is configured here that could read them, so I say nothing about what is in them."
    )


def _plain(name: str) -> str:
    """A name that Markdown shows as it is."""
    return "".join(f"\\{char}" if char in "\\`*_[]()<>#!|~" else char for char in name)
