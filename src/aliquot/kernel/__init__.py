"""Pure building blocks every domain shares: ids, clock, canonical JSON, hashing, problems, secrets in text.

No I/O, no database, no framework.
"""
