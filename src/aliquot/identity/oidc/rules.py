"""What is decided without asking anybody: where a browser may be sent, which roles a claim gives. Pure."""

import base64
import hashlib
import secrets
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from aliquot.identity.oidc.errors import LandingRefused

_NEXT_CHARS = 2_000
_ROLES_MAX = 1_000  # values of a claim that are looked at


def origin_of(url: str) -> str:
    """Scheme and host of a URL, as browsers compare them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def checked_landing(wanted: str | None, public_url: str, origins: Collection[str]) -> str:
    """The absolute URL a browser may be sent to at the end. Raises LandingRefused.

    Browsers take a backslash for a slash and drop control characters, so neither is let through (open redirect).
    """
    wanted = wanted or "/"
    if len(wanted) > _NEXT_CHARS or not wanted.isascii() or any(c <= " " or c in '\\#"<>\x7f' for c in wanted):
        raise LandingRefused
    if wanted.startswith("/") and not wanted.startswith("//"):
        return origin_of(public_url) + wanted
    try:
        parts = urlsplit(wanted)
        allowed = {origin_of(url) for url in (public_url, *origins)}
        known = parts.scheme in ("http", "https") and parts.username is None and parts.password is None
    except ValueError as error:
        raise LandingRefused from error
    if not known or origin_of(wanted) not in allowed:
        raise LandingRefused
    return wanted


def with_fragment(landing: str, **values: str) -> str:
    """`landing` with `values` in its fragment: a fragment reaches no server and no Referer."""
    return f"{landing}#{urlencode(values)}"


def with_query(url: str, values: Mapping[str, str]) -> str:
    """`url` with `values` added to its query."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(values)}"


def mapped_roles(claims: Mapping[str, Any], path: str, roles: Mapping[str, str]) -> frozenset[str]:
    """The roles that the claim at `path` gives. What is missing, of another type or not named in `roles` gives nothing."""
    found = _at(claims, path)
    values = [found] if isinstance(found, str) else found
    if not isinstance(values, list):
        return frozenset()
    return frozenset(roles[value] for value in values[:_ROLES_MAX] if isinstance(value, str) and value in roles)


def s256(verifier: str) -> str:
    """The code challenge of a verifier (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def new_secret() -> str:
    """256 random bits, 43 characters."""
    return secrets.token_urlsafe(32)


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of that very name (names with dots exist), else the one inside."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found
