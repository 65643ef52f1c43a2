"""Markdown of a model in a terminal: finished blocks are printed once and for good, the block being written is shown live."""

import itertools
from collections.abc import Iterable, Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Heading, Markdown, TableElement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from aliquot.cli.chat.neutral import neutral

_parser = MarkdownIt().enable(["table", "strikethrough"])  # the syntax rich renders
_parser.core.ruler.enableOnly(["normalize", "block"])  # where blocks begin does not depend on what is in them
_TALLER, _ALWAYS = 2, 3
"""A table may take so many times the lines that its rows take as paragraphs; one of few columns any number."""
LINES_MAX = 5_000
"""A block this long is printed in parts, so that an endless one costs no more than its length."""


def split_finished(text: str) -> tuple[str, str]:
    """`text` as (blocks that later text cannot change, the rest). Only whole lines are judged."""
    whole = text[: text.rfind("\n") + 1]
    starts = [token.map[0] for token in _parser.parse(whole) if token.level == 0 and token.map is not None and token.nesting >= 0]
    if not starts:
        return "", text
    cut = starts[-1]
    lines = whole.split("\n")
    if cut == 0 and len(lines) > LINES_MAX:
        cut = len(lines) - 1
    at = sum(len(line) + 1 for line in lines[:cut])
    return text[:at], text[at:]


class _LeftHeading(Heading):
    """Headings at the left, as in a manual page."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _WholeTable(TableElement):
    """A table in which nothing is cut: where its longest words do not fit side by side (or would stand in columns of a few letters),
    each row is a paragraph, its first cell before the others with their headings."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = next(iter(super().__rich_console__(console, options)))
        if not isinstance(table, Table):
            raise TypeError("rich shows a table by another class")
        for column in table.columns:
            column.overflow = "fold"
        if console.measure(table, options=options).minimum <= options.max_width:
            rows = list(self._rows())
            plain = options.update(height=None)
            if len(table.columns) <= _ALWAYS or len(console.render_lines(table, plain)) <= _TALLER * sum(
                len(console.render_lines(row, plain)) for row in rows
            ):
                yield table
                return
        for n, row in enumerate(self._rows()):
            yield from ([Text("")] if n else [])
            yield row

    def _rows(self) -> Iterator[Text]:
        heads = [cell.content for cell in self.header.row.cells] if self.header is not None and self.header.row is not None else []
        for row in self.body.rows if self.body is not None else ():
            first, *rest = [cell.content for cell in row.cells] or [Text("")]
            begin = f"{heads[0].plain} " if heads and heads[0].plain else ""
            line = Text(overflow="fold").append(begin, style="markdown.table.header").append(first.plain, style="bold")
            for n, (head, cell) in enumerate(itertools.zip_longest(heads[1:], rest, fillvalue=Text(""))):
                line.append(" · " if n else ": ").append(f"{head.plain} " if head.plain else "", style="markdown.table.header")
                line.append_text(cell)
            yield line


class NeutralMarkdown(Markdown):
    """Markdown whose text cannot command the terminal, not even through character references; links show where they lead."""

    elements = {**Markdown.elements, "heading_open": _LeftHeading, "table_open": _WholeTable}

    def __init__(self, markup: str) -> None:
        super().__init__(neutral(markup), hyperlinks=False)
        _neutralise(self.parsed)


def _neutralise(tokens: Iterable[Token]) -> None:
    for token in tokens:
        token.content = neutral(token.content)
        token.attrs = {name: neutral(value) if isinstance(value, str) else value for name, value in token.attrs.items()}
        _neutralise(token.children or ())


class Rendered:
    """Markdown that is shown as plain text should it not render: a model's text must not end the client."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        try:
            segments = list(console.render(NeutralMarkdown(self._text), options))
        except Exception:  # noqa: BLE001 - whatever a Markdown parser can raise on hostile text
            segments = list(console.render(Text(neutral(self._text)), options))
        yield from segments


_TAIL_LINES = 200
"""Of a longer block only this much is rendered while it grows; it is rendered whole once it is finished."""


class Tail:
    """The last lines of something that is still growing: never higher than the terminal."""

    def __init__(self, text: str, style: str | None = None) -> None:
        lines = text.rsplit("\n", _TAIL_LINES)
        self._text, self._style = text if len(lines) <= _TAIL_LINES else "\n".join(lines[1:]), style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = max(3, console.size.height - 4)
        content = Rendered(self._text) if self._style is None else Text(neutral(self._text), style=self._style)
        lines = console.render_lines(content, options.update(height=None), pad=False)
        for line in lines[-height:]:
            yield from line
            yield Segment.line()
