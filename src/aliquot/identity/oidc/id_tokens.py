"""ID tokens (OpenID Connect Core 1.0 §3.1.3.7): signature, issuer, audience, times, nonce. Pure: keys and time are given."""

import hmac
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from aliquot.identity.oidc.contracts import Identified
from aliquot.identity.oidc.errors import NotFresh, SsoTokenRefused

_TOKEN_BYTES = 64_000
_SUBJECT_CHARS = 255
_ROUNDING_SECONDS = 2  # times in tokens are whole seconds
_AGE_SECONDS = 600  # an ID token comes straight from the token endpoint
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


class UnknownKey(Exception):
    """The token names a key that is not among the known ones: they may have been rotated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What an ID token must say."""

    issuer: str
    client_id: str
    audiences: Collection[str]
    nonce: str = field(repr=False)
    algorithms: Collection[str]
    now: datetime
    leeway_seconds: int
    fresh_since: datetime | None = None
    """For a fresh authentication: when it was asked for."""


def identify(token: str, keys: KeySet, expected: Expected) -> Identified:
    """Whom the token names. Raises UnknownKey, SsoTokenRefused, NotFresh."""
    claims = _verified(token, keys, expected.algorithms)
    if claims.get("iss") != expected.issuer:
        raise SsoTokenRefused(cause="issuer")
    _check_audience(claims, expected)
    _check_times(claims, expected)
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise SsoTokenRefused(cause="nonce")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= _SUBJECT_CHARS or not subject.isprintable():
        raise SsoTokenRefused(cause="subject")
    return Identified(subject=subject, auth_time=_auth_time(claims, expected), claims=claims)


def _verified(token: str, keys: KeySet, algorithms: Collection[str]) -> dict[str, Any]:
    if len(token) > _TOKEN_BYTES:
        raise SsoTokenRefused(cause="size")
    try:
        header = jws.extract_compact(token.encode()).headers()
        algorithm, kid = header.get("alg"), header.get("kid")
        if (
            not isinstance(algorithm, str) or algorithm not in algorithms
        ):  # before any key is touched: `none`, and HS256 over a public key, end here
            raise SsoTokenRefused(cause="algorithm")
        registry = jws.JWSRegistry(algorithms=list(algorithms), strict_check_header=False)
        return jwt.decode(token, _key(keys, algorithm, kid), algorithms=list(algorithms), registry=registry).claims
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise SsoTokenRefused(cause="signature") from error


def _key(keys: KeySet, algorithm: str, kid: Any) -> Key:
    """The one key that may have signed this."""
    fitting = [
        key for key in keys
        if key.key_type == _KEY_TYPES[algorithm[:2]] and (kid is None or key.kid == kid)
        and key.get("use") in (None, "sig") and key.get("alg") in (None, algorithm)
    ]  # fmt: skip
    if not fitting:
        raise UnknownKey
    if len(fitting) > 1:
        raise SsoTokenRefused(cause="key")
    return fitting[0]


def _check_audience(claims: dict[str, Any], expected: Expected) -> None:
    given = claims.get("aud")
    audience = [given] if isinstance(given, str) else given
    if not isinstance(audience, list) or expected.client_id not in audience:
        raise SsoTokenRefused(cause="audience")
    if any(one not in (expected.client_id, *expected.audiences) for one in audience):
        raise SsoTokenRefused(cause="audience")
    party = claims.get("azp")
    if party != expected.client_id and (party is not None or len(audience) > 1):
        raise SsoTokenRefused(cause="authorized_party")


def _check_times(claims: dict[str, Any], expected: Expected) -> None:
    now, leeway = expected.now.timestamp(), expected.leeway_seconds
    expires, issued = _seconds(claims, "exp"), _seconds(claims, "iat")
    not_before = _seconds(claims, "nbf") if "nbf" in claims else issued
    if now >= expires + leeway:
        raise SsoTokenRefused(cause="expired")
    if issued > now + leeway or not_before > now + leeway:
        raise SsoTokenRefused(cause="not_yet_valid")
    if issued < now - leeway - _AGE_SECONDS:
        raise SsoTokenRefused(cause="too_old")


def _auth_time(claims: dict[str, Any], expected: Expected) -> datetime | None:
    if "auth_time" not in claims:
        if expected.fresh_since is not None:
            raise NotFresh
        return None
    at = _seconds(claims, "auth_time")
    if at > expected.now.timestamp() + expected.leeway_seconds:
        raise SsoTokenRefused(cause="not_yet_valid")
    # By the provider's own clock, which wrote both: how long before this token the person authenticated, and how long they had for it.
    if expected.fresh_since is not None:
        had = (expected.now - expected.fresh_since).total_seconds()
        if _seconds(claims, "iat") - at > had + _ROUNDING_SECONDS:
            raise NotFresh
    return datetime.fromtimestamp(at, UTC)


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
        raise SsoTokenRefused(cause=name)
    return float(value)
