"""Speaks to the OpenID Connect provider: discovery, keys, the token endpoint. Nothing here holds a transaction.

What the provider says is cached for an hour; a key nobody knows makes its keys be read anew, a few times a minute at most.
"""

import asyncio
import base64
import json
import ssl
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from aliquot.identity.oidc.contracts import Identified
from aliquot.identity.oidc.errors import SsoDenied, SsoTokenRefused, SsoUnavailable
from aliquot.identity.oidc.id_tokens import Expected, UnknownKey, identify
from aliquot.kernel.clock import Clock
from aliquot.platform.oidc_settings import OidcSettings

log = structlog.get_logger(__name__)

_ANSWER_BYTES = 512_000
_KEPT = timedelta(hours=1)
_RELOADS, _RELOAD_WINDOW = 5, timedelta(minutes=1)
_KEYS_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What we need of the discovery document (OpenID Connect Discovery 1.0 §3)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str | None
    says_issuer: bool
    """It puts `iss` into its answers (RFC 9207), so an answer without one is not its own."""
    secret_in_body: bool


class Provider:
    """One provider, as its settings and its discovery document describe it."""

    def __init__(self, settings: OidcSettings, issuer: str, clock: Clock) -> None:
        self._settings, self._issuer, self._clock = settings, issuer, clock
        self._metadata: tuple[Metadata, datetime] | None = None
        self._keys: tuple[KeySet, datetime] | None = None
        self._reloads: deque[datetime] = deque(maxlen=_RELOADS)
        self._lock = asyncio.Lock()
        self._context: ssl.SSLContext | bool | None = None

    async def metadata(self) -> Metadata:
        """The discovery document. Raises SsoUnavailable."""
        async with self._lock:
            if self._metadata is None or self._clock.now() - self._metadata[1] > _KEPT:
                url = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
                status, document = await self._ask("GET", url)
                if status != 200:
                    raise self._unusable("discovery_status")
                self._metadata = (self._read(document), self._clock.now())
            return self._metadata[0]

    async def id_token(self, code: str, verifier: str, redirect_uri: str) -> str:
        """Redeem an authorization code. Raises SsoUnavailable, SsoDenied, SsoTokenRefused."""
        metadata, settings = await self.metadata(), self._settings
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
        headers = {"accept": "application/json"}
        secret = settings.client_secret.get_secret_value() if settings.client_secret else None
        if secret is not None and not metadata.secret_in_body:
            pair = f"{quote(settings.client_id, safe='')}:{quote(secret, safe='')}"  # RFC 6749 §2.3.1
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": settings.client_id} | ({"client_secret": secret} if secret is not None else {})
        status, answer = await self._ask("POST", metadata.token_endpoint, form=form, headers=headers)
        if status != 200:
            raise SsoDenied(cause=error_code(answer.get("error")))
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise SsoTokenRefused(cause="no_id_token")
        return token

    async def identify(self, token: str, expected: Expected) -> Identified:
        """Whom an ID token names; the provider's keys are read anew when it names one we do not know. Raises as `identify`."""
        keys = await self._known_keys(anew=False)
        try:
            return identify(token, keys, expected)
        except UnknownKey:
            pass
        try:
            return identify(token, await self._known_keys(anew=True), expected)
        except UnknownKey as error:
            raise SsoTokenRefused(cause="key") from error

    async def _known_keys(self, *, anew: bool) -> KeySet:
        metadata = await self.metadata()
        async with self._lock:
            now = self._clock.now()
            if self._keys is not None and not anew and now - self._keys[1] <= _KEPT:
                return self._keys[0]
            if anew:
                if len(self._reloads) == _RELOADS and now - self._reloads[0] < _RELOAD_WINDOW:
                    raise SsoTokenRefused(cause="key")
                self._reloads.append(now)
            status, document = await self._ask("GET", metadata.jwks_uri)
            if status != 200:
                raise self._unusable("keys_status")
            self._keys = (self._key_set(document), now)
            return self._keys[0]

    def _key_set(self, document: dict[str, Any]) -> KeySet:
        """Its asymmetric keys; what is of an unknown kind is left out (RFC 7517 §5)."""
        listed = document.get("keys")
        found = []
        for entry in listed[:_KEYS_MAX] if isinstance(listed, list) else []:
            if isinstance(entry, dict) and entry.get("kty") in ("RSA", "EC", "OKP"):
                try:
                    found += KeySet.import_key_set({"keys": [entry]}).keys
                except (JoseError, ValueError, TypeError, KeyError):
                    log.warning("sso_key_unusable")
        if not found:
            raise self._unusable("keys")
        return KeySet(found)

    def _read(self, document: dict[str, Any]) -> Metadata:
        if document.get("issuer") != self._issuer:
            raise self._unusable("issuer")
        methods = document.get("token_endpoint_auth_methods_supported")
        methods = methods if isinstance(methods, list) else ["client_secret_basic"]
        ending = document.get("end_session_endpoint")
        return Metadata(
            authorization_endpoint=self._endpoint(document.get("authorization_endpoint")),
            token_endpoint=self._endpoint(document.get("token_endpoint")), jwks_uri=self._endpoint(document.get("jwks_uri")),
            end_session_endpoint=None if ending is None else self._endpoint(ending),
            says_issuer=document.get("authorization_response_iss_parameter_supported") is True,
            secret_in_body="client_secret_basic" not in methods and "client_secret_post" in methods,
        )  # fmt: skip

    def _endpoint(self, url: Any) -> str:
        """An endpoint must be reached as safely as the issuer."""
        parts = urlsplit(url) if isinstance(url, str) else None
        plain = urlsplit(self._issuer).scheme == "http"
        if parts is None or not parts.hostname or (parts.scheme != "https" and not (plain and parts.scheme == "http")):
            raise self._unusable("endpoint")
        return parts.geturl()

    async def _ask(
        self, method: str, url: str, *, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of an answer below 500. Follows no redirect. Raises SsoUnavailable."""
        if self._context is None:
            self._context = httpx2.create_ssl_context() if urlsplit(self._issuer).scheme == "https" else False
        body = b""
        try:
            async with (
                asyncio.timeout(self._settings.timeout_seconds),
                httpx2.AsyncClient(verify=self._context) as client,
                client.stream(method, url, data=form, headers=headers) as answer,
            ):
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > _ANSWER_BYTES:
                        raise self._unusable("size")
            document = json.loads(body) if answer.status_code < 500 else None
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError, RecursionError) as error:
            log.warning("sso_provider_unreachable", error=type(error).__name__)
            raise SsoUnavailable(retry_after=10) from error
        if not isinstance(document, dict):
            raise self._unusable("answer")
        return answer.status_code, document

    def _unusable(self, what: str) -> SsoUnavailable:
        log.error("sso_provider_unusable", what=what)
        return SsoUnavailable(retry_after=10)


def error_code(value: Any) -> str:
    """An error code of OAuth as it may be shown: theirs are words with underscores."""
    known = isinstance(value, str) and len(value) <= 60 and value.replace("_", "").isalnum() and value.isascii()
    return str(value) if known else "unknown"
