"""What others see of folders."""

import uuid
from dataclasses import dataclass

from aliquot.kernel.clock import Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder. `conversations` counts what its list shows: live and not archived, without folders below."""

    id: uuid.UUID
    parent_folder_id: uuid.UUID | None
    name: str
    color: str | None
    icon: str | None
    conversations: int
    created_at: Timestamp
    updated_at: Timestamp
    children: tuple["Folder", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderTree:
    """All folders of a person; `unfiled` counts the conversations in none."""

    items: tuple[Folder, ...]
    unfiled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """A folder that got another name because one of its name was there already."""

    id: uuid.UUID
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedFolder:
    """A folder is gone; what was in it lies in `parent_folder_id` now (None: in no folder). Nothing else was deleted."""

    id: uuid.UUID
    parent_folder_id: uuid.UUID | None
    moved_folders: int
    moved_conversations: int
    renamed: tuple[Renamed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be changed of a folder: the names in `fields`, whose values may be None."""

    fields: frozenset[str]
    name: str | None = None
    parent_folder_id: uuid.UUID | None = None
    color: str | None = None
    icon: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """What is to be changed of a conversation: the names in `fields`; of them only `folder_id` may be None."""

    fields: frozenset[str]
    title: str | None = None
    archived: bool | None = None
    pinned: bool | None = None
    folder_id: uuid.UUID | None = None
