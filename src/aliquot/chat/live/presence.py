"""Who is in a room, here and in other processes. Pure: time is given."""

from collections.abc import Collection

from aliquot.chat.live import frames

Users = dict[str, str]
"""Person id → name."""

ANNOUNCE_SECONDS = 8.0
EXPIRY_SECONDS = 25.0
"""A process that was not heard of for so long is gone, with its people."""


class Presence:
    """The people of one room."""

    def __init__(self) -> None:
        self._here: Users = {}
        self._elsewhere: dict[str, tuple[float, Users]] = {}
        self._shown: Users = {}

    @property
    def here(self) -> Users:
        """The people connected to this process."""
        return self._here

    def set_here(self, users: Users) -> None:
        self._here = users

    def set_elsewhere(self, origin: str, users: Users, now: float) -> bool:
        """What another process says; True when it was not heard of before."""
        new = origin not in self._elsewhere
        if users:
            self._elsewhere[origin] = (now + EXPIRY_SECONDS, users)
        else:
            self._elsewhere.pop(origin, None)
        return new and bool(users)

    def changed(self, now: float) -> bool:
        """Drop who was not heard of; True when the people differ from those shown last."""
        self._elsewhere = {origin: known for origin, known in self._elsewhere.items() if known[0] > now}
        users: Users = {}
        for _, elsewhere in self._elsewhere.values():
            users |= elsewhere
        users |= self._here
        if users == self._shown:
            return False
        self._shown = users
        return True

    def frame(self) -> str:
        """The `presence` frame, people by name."""
        return frames.frame("presence", users=_listed(self._shown.items()))


def _listed(users: Collection[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"id": key, "name": name} for key, name in sorted(users, key=lambda user: (user[1], user[0]))]
