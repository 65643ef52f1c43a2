"""One adapter per wire format. Each turns a request into a call of the official SDK and its raw bytes into our deltas.

Adapters do one attempt: they never retry, fall back or account (`engine.py`, `api.py`). SDKs are imported when the first
call is made, never at import.
"""
