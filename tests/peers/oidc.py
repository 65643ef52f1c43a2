"""An OpenID Connect provider of our own on a loopback port: discovery, authorization code with PKCE, keys that rotate, and a knob for
every way to lie. It uses joserfc for keys only; tokens are put together by hand where no library would.

    async with running_provider(clock) as provider: ...
"""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from aliquot.kernel.clock import Clock

CLIENT_ID, CLIENT_SECRET = "aliquot", "s:ecret/with?signs"

Claims = dict[str, Any]


@cache
def key(number: int, kind: str = "RSA") -> Key:
    """Made once per test process: an RSA key costs a hundred milliseconds."""
    parameters = {"kid": f"{kind}-{number}", "use": "sig"}
    return RSAKey.generate_key(2048, parameters) if kind == "RSA" else ECKey.generate_key("P-256", parameters)


@dataclass
class Provider:
    """What it says is what stands here at that moment."""

    clock: Clock
    url: str = ""
    subject: str = "u-1"
    claims: Claims = field(default_factory=lambda: {"email": "grace@example.org", "email_verified": True, "name": "Grace Hopper"})
    groups: Any = field(default_factory=lambda: ["lab-scientists"])
    change: Callable[[Claims], None] = lambda _: None
    """The last word about the claims of an ID token."""
    sign: Callable[["Provider", Claims], str] | None = None
    algorithm: str = "RS256"
    number: int = 1
    published: list[tuple[int, str]] = field(default_factory=lambda: [(1, "RSA"), (1, "EC")])
    skew: int = 0
    authenticated_ago: int = 0
    """Seconds since the person typed a password, unless a fresh one is asked for (`max_age=0`) and `obeys`."""
    obeys: bool = True
    down: set[str] = field(default_factory=set)
    says_issuer: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def now(self) -> int:
        return int(self.clock.now().timestamp()) + self.skew

    def id_token(self, asked: dict[str, str]) -> str:
        fresh = asked.get("max_age") == "0" and self.obeys
        claims: Claims = {
            "iss": self.url, "sub": self.subject, "aud": CLIENT_ID, "exp": self.now() + 300, "iat": self.now(),
            "nonce": asked["nonce"], "auth_time": self.now() - (0 if fresh else self.authenticated_ago), "groups": self.groups,
            **self.claims,
        }  # fmt: skip
        self.change(claims)
        if self.sign is not None:
            return self.sign(self, claims)
        signing = key(self.number, "EC" if self.algorithm.startswith("ES") else "RSA")
        return jwt.encode({"alg": self.algorithm, "kid": str(signing.kid)}, claims, signing, algorithms=[self.algorithm])

    async def discovery(self, _: Request) -> Response:
        return self._answer("discovery", {
            "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys", "end_session_endpoint": f"{self.url}/logout",
            "authorization_response_iss_parameter_supported": self.says_issuer, **self.metadata,
        })  # fmt: skip

    async def keys(self, _: Request) -> Response:
        symmetric = {"kty": "oct", "kid": "oct-1", "k": "c2VjcmV0"}  # never to be used
        return self._answer("keys", {"keys": [key(*one).as_dict(private=False) for one in self.published] + [symmetric, {"kty": "AKP"}]})

    async def authorize(self, request: Request) -> Response:
        """The person is always logged in here, and agrees."""
        asked = dict(request.query_params)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"]} | ({"iss": self.url} if self.says_issuer else {})
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", status_code=302)

    async def token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        pair = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()
        if pair != "aliquot:s%3Aecret%2Fwith%3Fsigns":
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if asked is None or form["redirect_uri"] != asked["redirect_uri"] or challenge != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return self._answer("token", {"access_token": "unused", "token_type": "Bearer", "id_token": self.id_token(asked)})

    def _answer(self, name: str, document: dict[str, Any]) -> Response:
        self.asked.append(name)
        if name in self.down:
            return Response("<html>gateway timeout</html>", 504)
        return JSONResponse(document)


def unsigned(_: Provider, claims: Claims) -> str:
    """`alg: none`."""
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def symmetric(provider: Provider, claims: Claims) -> str:
    """HS256 over the published RSA key, taken for a secret."""
    public = key(provider.number).as_pem(private=False)
    return _hmac({"alg": "HS256", "kid": f"RSA-{provider.number}"}, claims, public)


def symmetric_with_client_secret(_: Provider, claims: Claims) -> str:
    return _hmac({"alg": "HS256"}, claims, CLIENT_SECRET.encode())


def stranger(_: Provider, claims: Claims) -> str:
    """Signed by a key of somebody else that bears a known name."""
    return jwt.encode({"alg": "RS256", "kid": "RSA-1"}, claims, key(99), algorithms=["RS256"])


def key_in_token(_: Provider, claims: Claims) -> str:
    """Brings its own key along (`jwk` in the header)."""
    header = {"alg": "RS256", "kid": "RSA-1", "jwk": key(99).as_dict(private=False)}
    return jwt.encode(header, claims, key(99), algorithms=["RS256"])


def altered(provider: Provider, claims: Claims) -> str:
    """Claims changed after signing."""
    head, _, signature = jwt.encode({"alg": "RS256", "kid": "RSA-1"}, claims, key(1), algorithms=["RS256"]).split(".")
    return f"{head}.{_part(claims | {'sub': 'u-admin'})}.{signature}"


def _hmac(header: dict[str, str], claims: Claims, secret: bytes) -> str:
    body = f"{_part(header)}.{_part(claims)}"
    mac = hmac.digest(secret, body.encode(), "sha256")
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@asynccontextmanager
async def running_provider(clock: Clock) -> AsyncIterator[Provider]:
    """Serve a provider in the test's own event loop."""
    provider = Provider(clock)
    app = Starlette(routes=[
        Route("/.well-known/openid-configuration", provider.discovery), Route("/keys", provider.keys),
        Route("/authorize", provider.authorize), Route("/token", provider.token, methods=["POST"]),
    ])  # fmt: skip
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    provider.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1, lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the test runner's own handlers stay
    serving = asyncio.create_task(server._serve([listener]))
    while not server.started:
        await asyncio.sleep(0.005)
        if serving.done():
            serving.result()
    try:
        yield provider
    finally:
        server.should_exit = True
        await serving
