"""Notices a model that repeats itself without end."""

_TAIL_CHARS = 6_000
_LONGEST_PERIOD = 400
_CHECK_EVERY = 1_500
_PROBE = 80


class RepeatWatch:
    """Fed the text of an answer; says when its last 6,000 characters are one passage of at most 400 repeated over and over.

    The bound is generous on purpose: tables, rulers and lists repeat legitimately, and a false stop is worse than a late one.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._new = 0
        self._tail = ""

    def loops(self, text: str) -> bool:
        """True when the text so far, with `text`, ends in a loop."""
        self._parts.append(text)
        self._new += len(text)
        if self._new < _CHECK_EVERY:
            return False
        self._tail = (self._tail + "".join(self._parts))[-_TAIL_CHARS:]
        self._parts.clear()
        self._new = 0
        return len(self._tail) == _TAIL_CHARS and is_periodic(self._tail, _LONGEST_PERIOD)


def is_periodic(text: str, longest: int) -> bool:
    """True when `text` repeats with a period of at most `longest` characters from its beginning to its end."""
    probe = text[-_PROBE:]
    end = len(text) - 1
    while (found := text.rfind(probe, max(0, len(text) - _PROBE - longest), end)) >= 0:
        period = len(text) - _PROBE - found
        if text[period:] == text[:-period]:
            return True
        end = found + _PROBE - 1
    return False
