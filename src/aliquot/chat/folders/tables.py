"""Folders. Names are sealed; their uniqueness is that of a keyed hash."""

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, String, Table, Uuid

from aliquot.platform.db import id_column, metadata, time_column

folder = Table(
    "folder",
    metadata,
    id_column(),
    Column("owner_id", Uuid, nullable=False),
    Column("parent_folder_id", Uuid, ForeignKey("folder.id")),
    Column("name", LargeBinary, nullable=False, comment="sealed"),
    Column("name_hash", LargeBinary, nullable=False, comment="keyed hash of the name without case, under the owner's key"),
    Column("color", String(7), comment="#rrggbb"),
    Column("icon", String(50)),
    time_column("created_at"),
    time_column("updated_at"),
    Index("uq_folder_name", "owner_id", "parent_folder_id", "name_hash", unique=True, postgresql_nulls_not_distinct=True),
    Index("ix_folder_parent_folder_id", "parent_folder_id"),
)
