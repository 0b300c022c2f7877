"""Who may ask, and what every answer carries: the page's border, in front of all routes.

A page on loopback is not private by itself: any website in the same browser can point a name at 127.0.0.1 (DNS
rebinding) or request it across origins. So the Host header must name us (fault matrix S2), nothing but GET and HEAD
gets in (S3), a script of another origin is refused, and no inline script or style runs (S4).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
SECURITY: Final = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware. `names` are the host names that may be asked for, each with the port that was connected to."""

    def __init__(self, app: ASGIApp, names: Iterable[str] = LOOPBACK) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._is_us(headers.getlist("host"), scope):
            return Response(status_code=421)  # RFC 9110, 15.5.20 Misdirected Request
        if scope["method"] not in ("GET", "HEAD"):
            return Response(status_code=405, headers={"Allow": "GET, HEAD"})
        foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if foreign and scope["path"].startswith("/api/"):
            return Response(status_code=403)
        return None

    def _is_us(self, hosts: list[str], scope: Scope) -> bool:
        port = (scope.get("server") or ("", 0))[1]
        allowed = {f"{name}:{port}" for name in self._names} | (self._names if port == 80 else set())
        return len(hosts) == 1 and hosts[0].lower() in allowed


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(SECURITY)
        await send(message)

    return guarded
