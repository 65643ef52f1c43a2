"""Other names of the same resources (CONTRACT §0): one rewrite table, applied before routing."""

from starlette.types import ASGIApp, Receive, Scope, Send

_PREFIXES = (
    ("/api/chat/threads", "/api/conversations"),
    ("/api/users/me", "/api/auth/me"),
)
_EXACT_ONLY = frozenset({"/api/users/me"})


class Aliases:
    """ASGI middleware that rewrites the path of an alias."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            path = scope["path"]
            for alias, target in _PREFIXES:
                if path == alias or (alias not in _EXACT_ONLY and path.startswith(alias + "/")):
                    rewritten = target + path[len(alias) :]
                    scope = {**scope, "path": rewritten, "raw_path": rewritten.encode()}
                    break
        await self._app(scope, receive, send)
