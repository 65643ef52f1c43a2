"""A conversation as Markdown that stays inert in every renderer: text is escaped, only the structure we read is written again. Pure."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aliquot.chat.export.blocks import Block, Inline, blocks, clean
from aliquot.chat.export.contracts import Document, Entry, Options
from aliquot.chat.export.times import shown
from aliquot.kernel.clock import Timestamp

_SPECIAL = re.compile(r"([\\`*_\[\]|~])")
_CLOSING = re.compile(r"(?<!\S)#+\s*$")
"""What ends a heading, for whoever reads it, and is no part of it."""
_LINE_START = re.compile(r"(?m)^(\s*)(#{1,6}(?=\s|$)|[-+=](?=[\s=-]|$)|>|\d{1,9}[.)](?=\s|$))")
_ENTITY = re.compile(r"&(?=#?\w{1,31};)")


def markdown(document: Document, options: Options) -> str:
    """The whole document."""
    lines = [f"# {escape(document.title)}", "", _head(document, options), ""]
    notes: list[str] = []
    for entry in document.entries:
        lines += [*_entry(entry, document, options, notes), ""]
    if notes:
        lines += ["## Sources", "", *notes, ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _head(document: Document, options: Options) -> str:
    said = [f"Conversation `{document.conversation_id}`, exported by {escape(document.exported_by)}"]
    said.append(f"on {_time(document, document.exported_at)} ({document.time_zone}).")
    if options.include_timestamps:
        said.append(f"Times are in {document.time_zone}.")
    if document.hidden:
        said.append(f"{document.hidden} messages of other branches are not in this file.")
    return " ".join(said)


def _entry(entry: Entry, document: Document, options: Options, notes: list[str]) -> list[str]:
    when = f" · {_time(document, entry.at)}" if options.include_timestamps else ""
    lines = [f"## {escape(entry.author)}{when}", ""]
    lines.append("\n\n".join(_block(block) for block in blocks(entry.text)))
    if entry.incomplete:
        lines += ["", "*This answer was cut off.*"]
    if entry.files:
        lines += ["", "Files: " + ", ".join(escape(name) for name in entry.files)]
    if options.include_citations and entry.citations:
        first = len(notes) + 1
        notes += [f"{number}. {_source(citation)}" for number, citation in enumerate(entry.citations, first)]
        lines += ["", "Sources: " + ", ".join(f"\\[{number}\\]" for number in range(first, len(notes) + 1))]
    return lines


def _source(citation: dict[str, Any]) -> str:
    """One note: title, where in it, and the quote it rests on."""
    title = escape(str(citation.get("title") or "Untitled"))
    place = f", page {escape(str(citation['page']))}" if citation.get("page") else ""
    quote = f": “{escape(' '.join(str(citation['excerpt']).split()))}”" if citation.get("excerpt") else ""
    return f"{title}{place}{quote}"


def _time(document: Document, at: Timestamp) -> str:
    return shown(at, document.time_zone)


def escape(text: str) -> str:
    """`text` so that a Markdown renderer shows exactly it, on one line, and no renderer at all finds HTML in it."""
    return _escaped(" ".join(clean(text).split()))


def _escaped(text: str) -> str:
    text = _ENTITY.sub("&amp;", text)
    text = _SPECIAL.sub(r"\\\1", text).replace("<", "&lt;")
    return _LINE_START.sub(lambda m: f"{m[1]}{m[2][:-1]}\\{m[2][-1]}" if m[2][0].isdigit() else f"{m[1]}\\{m[2]}", text)


def _block(block: Block) -> str:
    match block["kind"]:
        case "heading":
            words = _pieces(block["inline"]).replace("\n", " ")
            return "######"[: block["level"] + 2] + " " + _CLOSING.sub(r"\\\g<0>", words)
        case "code":
            return _fenced(block["text"], block["language"])
        case "list":
            return _list(block)
        case "quote":
            return _indented(_joined(block["blocks"]), "> ", "> ")
        case "table":
            return _table(block)
        case "rule":
            return "---"
    return _pieces(block["inline"])


def _joined(inner: Sequence[Block]) -> str:
    return "\n\n".join(_block(block) for block in inner)


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{re.sub(r'[^A-Za-z0-9+#.-]', '', language)}\n{text}\n{fence}"


def _list(block: Block) -> str:
    items = []
    for number, item in enumerate(block["items"], block["start"]):
        mark = f"{number}. " if block["ordered"] else "- "
        items.append(_indented(_joined(item), mark, " " * len(mark)))
    return "\n".join(items)


def _indented(text: str, first: str, rest: str) -> str:
    lines = text.split("\n")
    return "\n".join([first + lines[0], *((rest + line).rstrip() for line in lines[1:])])


def _table(block: Block) -> str:
    def row(cells: Sequence[Sequence[Inline]]) -> str:
        # A bar ends the cell wherever it stands, also in code: what follows would be text of its own, with its HTML.
        return "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", _pieces(cell).replace("\n", " ")) for cell in cells) + " |"

    return "\n".join([row(block["head"]), "|" + " --- |" * len(block["head"]), *(row(cells) for cells in block["rows"])])


def _pieces(inline: Sequence[Inline]) -> str:
    return "".join(_piece(piece) for piece in _apart(inline))


def _apart(inline: Sequence[Inline]) -> list[Inline]:
    """Without one emphasis right behind another, which would be read in another way (`*a**b*`): two of a kind become one, of two kinds
    the second is written plainly."""
    found: list[Inline] = []
    for piece in inline:
        before = found[-1]["kind"] if found else ""
        if piece["kind"] in _MARKS and piece["kind"] == before:
            found[-1] = {**found[-1], "inline": [*found[-1]["inline"], *piece["inline"]]}
        elif piece["kind"] in _STARS and before in _STARS:
            found = _apart([*found, *piece["inline"]])
        else:
            found.append(piece)
    return found


def _piece(piece: Inline) -> str:
    match piece["kind"]:
        case "text":
            return _escaped(piece["text"])
        case "break":
            return "\\\n"
        case "code":
            return _code(piece["text"])
        case "link":
            return f"[{_pieces(piece['inline'])}](<{piece['url']}>)" if piece["url"] else _pieces(piece["inline"])
    return _MARKS[piece["kind"]](piece)


def _code(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * (longest + 1)
    space = " " if text[:1] in ("`", " ") or text[-1:] in ("`", " ") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _once(piece: Inline) -> Iterator[Inline]:
    """What is inside, without the same emphasis again: `*a*b**` would be read in another way."""
    for inner in piece["inline"]:
        if inner["kind"] == piece["kind"]:
            yield from _once(inner)
        else:
            yield inner


_STARS = frozenset({"em", "strong"})
_MARKS: dict[str, Callable[[Inline], str]] = {
    "strong": lambda piece: f"**{_pieces(list(_once(piece)))}**",
    "em": lambda piece: f"*{_pieces(list(_once(piece)))}*",
    "strike": lambda piece: f"~~{_pieces(piece['inline'])}~~",
}
