"""Markdown (CommonMark with tables and strikethrough) as a tree of plain data, for writers that must not interpret text. Pure.

HTML is text here, images are links, and a link leads to http, https or mailto or is not one. Nesting is bounded: what lies
deeper is flattened to text, and a text nested beyond reason is code.

Blocks: `{"kind": "paragraph" | "heading" | "code" | "list" | "quote" | "table" | "rule", …}`; inline pieces: `{"kind": "text" |
"strong" | "em" | "strike" | "code" | "link" | "break", …}`.
"""

import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

Block = dict[str, Any]
Inline = dict[str, Any]

_DEPTH_MAX = 8
_NESTING_MAX = 60
_SAFE_LINK = re.compile(r"(?i)(?:https?://|mailto:)[^\s<>\"']+\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
_NESTED = {"strong_open": "strong", "em_open": "em", "s_open": "strike"}


def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False, "maxNesting": _NESTING_MAX + 4}).enable(["table", "strikethrough"])
    reader.validateLink = lambda url: bool(_SAFE_LINK.match(url))  # type: ignore[method-assign]  # its documented hook
    return reader


_markdown = _reader()


def clean(text: str) -> str:
    """Without control characters and without marks that turn the direction of text round."""
    return _CONTROL.sub("�", text.replace("\r\n", "\n").replace("\r", "\n"))


def blocks(text: str) -> list[Block]:
    """The blocks of a Markdown text; one nested beyond reason is shown as it was written."""
    text = clean(text)
    tokens = _markdown.parse(text)
    if any(token.level >= _NESTING_MAX for token in tokens):
        return [{"kind": "code", "text": text, "language": ""}]
    return _Reader(tokens).blocks(0)


class _Reader:
    """Walks markdown-it's flat list of tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens, self._at = tokens, 0

    def blocks(self, depth: int, until: str | None = None) -> list[Block]:
        found: list[Block] = []
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token.type == until:
                break
            block = self._block(token, depth)
            if block is not None:
                found.append(block)
        return found

    def _block(self, token: Token, depth: int) -> Block | None:
        match token.type:
            case "heading_open":
                return {"kind": "heading", "level": int(token.tag[1]), "inline": self._inline_until("heading_close")}
            case "paragraph_open":
                return {"kind": "paragraph", "inline": self._inline_until("paragraph_close")}
            case "fence" | "code_block":
                return {"kind": "code", "text": token.content.rstrip("\n"), "language": token.info.strip().split(" ")[0][:40]}
            case "blockquote_open":
                return self._nested({"kind": "quote"}, "blocks", depth, "blockquote_close")
            case "bullet_list_open" | "ordered_list_open":
                return self._list(token, depth)
            case "table_open":
                return self._table()
            case "hr":
                return {"kind": "rule"}
        return None

    def _nested(self, block: Block, name: str, depth: int, until: str) -> Block:
        inner = self.blocks(depth + 1, until)
        if depth >= _DEPTH_MAX:
            return {"kind": "paragraph", "inline": [{"kind": "text", "text": plain(inner)}]}
        return block | {name: inner}

    def _list(self, token: Token, depth: int) -> Block:
        ordered = token.type == "ordered_list_open"
        close = "ordered_list_close" if ordered else "bullet_list_close"
        items: list[list[Block]] = []
        while self._at < len(self._tokens) and self._tokens[self._at].type != close:
            self._at += 1  # list_item_open
            items.append(self.blocks(depth + 1, "list_item_close"))
        self._at += 1
        if depth >= _DEPTH_MAX:
            return {"kind": "paragraph", "inline": [{"kind": "text", "text": " ".join(plain(item) for item in items)}]}
        start = token.attrGet("start")
        return {"kind": "list", "ordered": ordered, "start": int(start) if start is not None else 1, "items": items}

    def _table(self) -> Block:
        rows: list[list[list[Inline]]] = []
        while (token := self._tokens[self._at]).type != "table_close":
            self._at += 1
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline":
                rows[-1].append(_inline(token.children or []))
        self._at += 1
        return {"kind": "table", "head": rows[0], "rows": rows[1:]}

    def _inline_until(self, close: str) -> list[Inline]:
        found: list[Inline] = []
        while (token := self._tokens[self._at]).type != close:
            self._at += 1
            found += _inline(token.children or [])
        self._at += 1
        return found


def _inline(tokens: Sequence[Token]) -> list[Inline]:
    """Inline pieces; emphasis nests, as deep as blocks do, everything else is flat."""
    root: list[Inline] = []
    open_: list[list[Inline]] = [root]
    for token in tokens:
        if token.type in _NESTED and len(open_) > _DEPTH_MAX:  # a writer that reads this as JSON bounds its depth
            open_.append(open_[-1])
        elif token.type in _NESTED or token.type == "link_open":
            piece: Inline = {"kind": _NESTED.get(token.type, "link"), "inline": []}
            if token.type == "link_open":
                piece["url"] = str(token.attrGet("href") or "")
            open_[-1].append(piece)
            open_.append(piece["inline"])
        elif token.type.endswith("_close") and len(open_) > 1:
            open_.pop()
        elif token.type == "code_inline":
            open_[-1].append({"kind": "code", "text": token.content})
        elif token.type == "hardbreak":
            open_[-1].append({"kind": "break"})
        elif token.type == "softbreak":
            open_[-1].append({"kind": "text", "text": "\n"})
        elif token.type == "image":  # never loaded: opening a file must not tell anybody that it was opened
            url = str(token.attrGet("src") or "")
            open_[-1].append({"kind": "link", "url": url, "inline": [{"kind": "text", "text": f"[image: {token.content or url}]"}]})
        elif token.content:
            open_[-1].append({"kind": "text", "text": token.content})
    return root


def plain(found: Sequence[Block]) -> str:
    """The words of some blocks."""
    return " ".join(filter(None, (_words(block) for block in found)))


def _words(block: Any) -> str:
    if isinstance(block, dict):
        own = str(block.get("text", ""))
        return own or " ".join(filter(None, (_words(block[key]) for key in ("inline", "blocks", "items", "head", "rows") if key in block)))
    if isinstance(block, list):
        return "".join(_words(part) for part in block)
    return ""
