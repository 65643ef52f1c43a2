"""Schema migrations (Alembic), one chain for the whole database. We never migrate down: a way back is a restore."""
