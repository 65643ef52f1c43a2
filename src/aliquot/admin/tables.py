"""Counts of requests, and how busy each process is: what no other domain keeps."""

from sqlalchemy import BigInteger, Column, DateTime, Integer, String, Table

from aliquot.platform.db import id_column, metadata, time_column

request_count = Table(
    "request_count",
    metadata,
    Column("minute", DateTime(timezone=True), primary_key=True),
    Column("kind", String(16), primary_key=True, comment="all, chat, failed, limited"),
    Column("route", String(160), primary_key=True, comment="method and template of what was limited; empty for the other kinds"),
    Column("count", BigInteger, nullable=False),
)

process_load = Table(
    "process_load",
    metadata,
    id_column(),
    time_column("at"),
    Column("open_streams", Integer, nullable=False),
    Column("open_sockets", Integer, nullable=False),
    Column("active_runs", Integer, nullable=False),
)
"""One row per process that has something open, renewed every few seconds; an old row is of a process that died."""
