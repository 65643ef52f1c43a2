"""A conversation as a tagged PDF (PDF/UA-1, ISO 14289-1), set by typst from data: nothing of the text is ever a template. Blocking.

PDF/UA needs one heading order, a title and a language; text in the file can be selected, searched and read aloud.
"""

from pathlib import Path
from typing import Any

from aliquot.chat.export.blocks import Block, Inline, blocks, clean, plain
from aliquot.chat.export.contracts import Document, Entry, Options
from aliquot.chat.export.times import shown
from aliquot.platform.pdf import Unprintable, typeset

_TEMPLATE = Path(__file__).with_name("conversation.typ")
_NO_GLYPH = "Some characters are in no font of this server and appear as boxes; the Markdown and JSON exports hold them."
_UNBROKEN = 40
"""Characters of a word, at most, that a column makes room for."""


def pdf(document: Document, options: Options) -> bytes:
    """The whole document; about 60 ms and 10 ms for every 10 messages."""
    notes: list[str] = []
    entries = [_entry(entry, document, options, notes) for entry in document.entries]
    about = f"Conversation {document.conversation_id}, exported by {clean(document.exported_by)} on {_now(document)}."
    if options.include_timestamps:
        about += f" Times are in {document.time_zone}."
    if document.hidden:
        about += f" {document.hidden} messages of other branches are not in this file."
    data = {
        "title": " ".join(clean(document.title).split()) or "Conversation", "about": about, "entries": entries, "notes": notes,
        "footer": f"{document.conversation_id} · {_now(document)} {document.time_zone}",
    }  # fmt: skip
    try:
        return typeset(_TEMPLATE, data, system_fonts=True)
    except Unprintable:
        # PDF/UA refuses a document with a character no font here can show. It is still tagged then, and says what is missing.
        return typeset(_TEMPLATE, data | {"about": f"{about} {_NO_GLYPH}"}, standard=None, system_fonts=True)


def _now(document: Document) -> str:
    return shown(document.exported_at, document.time_zone)


def _entry(entry: Entry, document: Document, options: Options, notes: list[str]) -> dict[str, Any]:
    first = len(notes) + 1
    if options.include_citations:
        notes += [_note(citation) for citation in entry.citations]
    return {
        "author": clean(entry.author), "at": shown(entry.at, document.time_zone) if options.include_timestamps else "",
        "blocks": [_ready(block) for block in _levelled(blocks(entry.text))], "incomplete": entry.incomplete,
        "files": [clean(name) for name in entry.files],
        "notes": list(range(first, len(notes) + 1)),
    }  # fmt: skip


def _note(citation: dict[str, Any]) -> str:
    place = f", page {citation['page']}" if citation.get("page") else ""
    quote = f": “{' '.join(str(citation['excerpt']).split())}”" if citation.get("excerpt") else ""
    return clean(f"{citation.get('title') or 'Untitled'}{place}{quote}")


def _levelled(found: list[Block]) -> list[Block]:
    """Headings of a message below the message's own, without a jump from one level to the next but one (PDF/UA-1 §7.4.2)."""
    last = 0
    for block in found:
        if block["kind"] == "heading":
            last = block["level"] = min(block["level"], last + 1)
    return found


def _ready(block: Block) -> Block:
    """Cells as dictionaries: typst would flatten nested arrays into one."""
    if block["kind"] == "table":
        rows = [block["head"], *block["rows"]]
        shares, most = _columns(rows)
        cells = [[{"pieces": cell, "most": fits} for cell, fits in zip(row, most, strict=False)] for row in rows]
        return block | {"head": cells[0], "rows": cells[1:], "shares": shares}
    if block["kind"] == "list":
        return block | {"items": [[_ready(inner) for inner in item] for item in block["items"]]}
    if block["kind"] == "quote":
        return block | {"blocks": [_ready(inner) for inner in block["blocks"]]}
    return block | {"level": min(4, block["level"])} if block["kind"] == "heading" else block


def _columns(rows: list[list[list[Inline]]]) -> tuple[list[float], list[int]]:
    """The columns' shares of the page's width (none: each is as wide as its cells), and how long a word may be in each before it is broken.

    A word is broken only where there is no room for it; what room is left goes to columns with long cells.
    """
    texts = [[plain([{"inline": cell}]) for cell in column] for column in zip(*rows, strict=False)]
    room = (150 if len(texts) > 10 else 112 if len(texts) > 6 else 96) - 2 * len(texts)  # characters, at the template's sizes
    longest = [max(map(len, column)) for column in texts]
    if sum(longest) <= room:
        return [], [_UNBROKEN] * len(texts)
    words = [min(_UNBROKEN, 2 + max((len(word) for cell in column for word in cell.split()), default=1)) for column in texts]
    rest = [max(0, length - word) for length, word in zip(longest, words, strict=True)]
    spare = max(0, room - sum(words)) / max(1, sum(rest))
    shares = [word + spare * more for word, more in zip(words, rest, strict=True)]
    return shares, [max(4, int(share * room / sum(shares))) for share in shares]
