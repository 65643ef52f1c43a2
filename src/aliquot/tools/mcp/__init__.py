"""The Model Context Protocol, both ways: the tools of this site for MCP clients, and tools of external MCP servers under our policy.

The `mcp` SDK carries the protocol. It is imported by `server` and `peer` only, and those only when they are first needed: it takes
about a second.
"""
