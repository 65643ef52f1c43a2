"""The text of a file while it is read: bounded, and kept when time runs out."""


class Enough(Exception):
    """The bound on characters is reached."""


class Output:
    """Collects text up to `most` characters."""

    def __init__(self, most: int) -> None:
        self._parts: list[str] = []
        self._room = most
        self.cut = False
        self.facts: dict[str, int] = {}

    def add(self, text: str) -> None:
        """Raises Enough when not all of it fits."""
        if len(text) > self._room:
            self._parts.append(text[: self._room])
            self._room, self.cut = 0, True
            raise Enough
        self._parts.append(text)
        self._room -= len(text)

    @property
    def text(self) -> str:
        return "".join(self._parts)
