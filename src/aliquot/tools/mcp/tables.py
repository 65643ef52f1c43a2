"""Definitions of the tools of external MCP servers: the one that is accepted, and another one that waits to be."""

from sqlalchemy import Column, String, Table, Text, Uuid

from aliquot.platform.db import metadata, time_column

mcp_tool = Table(
    "mcp_tool",
    metadata,
    Column("server", String(20), primary_key=True),
    Column("tool", String(128), primary_key=True, comment="as the server calls it"),
    Column("sha256", String(64), comment="of the accepted definition; null until there is one"),
    Column("definition", Text, comment="canonical JSON: name, description, inputSchema"),
    time_column("pinned_at", nullable=True),
    Column("accepted_by", Uuid, comment="null: first sight, or the settings"),
    Column("offered_sha256", String(64), comment="another definition the server shows now: the tool is disabled"),
    Column("offered", Text),
    time_column("offered_at", nullable=True),
)
