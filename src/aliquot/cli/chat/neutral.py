"""Text of a server, a model or a record on its way to a terminal: nothing in it may command the terminal."""

_TABLE: dict[int, str | None] = {
    **{code: chr(0x2400 + code) for code in range(0x20)},  # visible pictures of the control characters
    **dict.fromkeys(range(0x7F, 0xA0), "\N{REPLACEMENT CHARACTER}"),  # DEL and C1: ESC sequences in one byte
    **dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}"),  # lone surrogates cannot be written
    # Direction overrides make a line read otherwise than it is ("confirm what you see").
    **dict.fromkeys((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\N{REPLACEMENT CHARACTER}"),
    0x2028: "\n",
    0x2029: "\n",
    0x09: "\t",
    0x0A: "\n",
    0x0D: None,  # a carriage return would let text overwrite the line it stands in
}


def neutral(text: object) -> str:
    """`text` without control characters, escape sequences and direction overrides. Works character by character, so that
    pieces of a stream give the same as the whole.
    """
    return str(text).translate(_TABLE)


def one_line(text: object, width: int = 0) -> str:
    """As `neutral`, on one line; cut to `width` characters when given."""
    line = " ".join(neutral(text).split())
    return line if not width or len(line) <= width else line[: width - 1] + "…"
