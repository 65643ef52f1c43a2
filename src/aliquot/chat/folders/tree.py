"""The shape of a person's folders, from each folder to its parent. Pure."""

import re
import unicodedata
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

Parents = Mapping[uuid.UUID, uuid.UUID | None]

NAME_CHARS = 255
_INVISIBLE = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # they would show a name other than it is


def way_up(parents: Parents, folder_id: uuid.UUID | None) -> list[uuid.UUID]:
    """`folder_id` and the folders it lies in, innermost first."""
    way: list[uuid.UUID] = []
    while folder_id is not None:
        way.append(folder_id)
        folder_id = parents[folder_id]
    return way


def height(parents: Parents, folder_id: uuid.UUID) -> int:
    """Levels of the folder with everything below it: 1 without children."""
    levels = [way_up(parents, other) for other in parents]
    return max(way.index(folder_id) + 1 for way in levels if folder_id in way)


def children(parents: Parents) -> dict[uuid.UUID | None, list[uuid.UUID]]:
    """The folders directly in each one, and at the top (None)."""
    found: dict[uuid.UUID | None, list[uuid.UUID]] = defaultdict(list)
    for folder_id, parent_id in parents.items():
        found[parent_id].append(folder_id)
    return found


def clean_name(name: str) -> str | None:
    """The name as it is kept: composed, with single spaces; None for one that is empty, too long or holds control characters."""
    name = " ".join(unicodedata.normalize("NFC", name).split(" ")).strip()
    wrong = any(unicodedata.category(c) == "Cc" for c in name) or _INVISIBLE.search(name)
    return None if wrong or not 1 <= len(name) <= NAME_CHARS else name


def same_name_key(name: str) -> str:
    """What two names must share to be the same to a person: no case, no compatibility forms."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def free_name(name: str, taken: Collection[bytes], hashed: Callable[[str], bytes]) -> str:
    """`name`, or `name (2)`, `name (3)` … : the first whose hash is not in `taken`."""
    number, candidate = 1, name
    while hashed(candidate) in taken:
        number += 1
        suffix = f" ({number})"
        candidate = name[: NAME_CHARS - len(suffix)] + suffix
    return candidate
