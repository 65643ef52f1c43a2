"""Canonical JSON (RFC 8785, JCS) and the hashes computed over it."""

import hashlib
from typing import Any

import rfc8785


def canonical_json(value: Any) -> bytes:
    """RFC 8785 bytes of `value`. Raises ValueError for what JSON or JCS cannot hold (NaN, integers beyond 2^53, sets, …)."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise ValueError(f"not representable as canonical JSON: {type(error).__name__}") from error


def sha256_hex(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def content_hash(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of `value`: what approvals, signatures and policy decisions are bound to."""
    return sha256_hex(canonical_json(value))
