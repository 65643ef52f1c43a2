"""Ground under every domain: settings, PostgreSQL, jobs, keys, live fan-out, HTTP problems, telemetry.

Knows nothing of laboratories, people or chats.
"""
