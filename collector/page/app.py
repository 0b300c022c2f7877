"""The page as an ASGI application: a handful of read-only routes behind the guard.

The static files are read once when the application is built: a few kilobytes, no thread per request, and no path
that could lead out of the folder, because there are no paths.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import msgspec.json
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from collector.health import Health, verdict, waits
from collector.page.feed import Books, Feed, Reader
from collector.page.guard import LOOPBACK, Guard
from collector.page.live import LiveView

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


def build_app(view: LiveView, health: Health, ledger: Books, *, names: Iterable[str] = LOOPBACK) -> Starlette:
    """The application. Its lifespan runs the feed, so whoever serves it must enter that (see server.py).

    names: host names under which the page may be asked for, without port; anything else is answered with 421.
    """
    feed = Feed(view, health, ledger)
    answers = Answers(view, health, feed)
    routes = [
        Route("/api/overview", answers.overview),
        Route("/api/events", Events(feed)),
        Route("/healthz", answers.healthz),
        Route("/readyz", answers.readyz),
        *_static(),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Guard, names=tuple(names))], lifespan=_lifespan)
    app.router.redirect_slashes = False
    app.state.feed = feed
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    feed: Feed = app.state.feed
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(feed.run(), name="page-feed")
        yield
        feed.close()
        beating.cancel()


class Answers:
    """The routes that answer at once."""

    def __init__(self, view: LiveView, health: Health, feed: Feed) -> None:
        self._view, self._health, self._feed = view, health, feed

    async def overview(self, _: Request) -> Response:
        told = self._view.overview(self._health, await self._feed.books())
        return _json(told)

    async def healthz(self, _: Request) -> Response:
        """Healthy, as `collector status` says it: the process itself does its work. 503 with the reasons if not."""
        found = verdict(self._health, await self._feed.books())
        said = "ok" if found.healthy else "\n".join(found.reasons)
        return PlainTextResponse(f"{said}\n", 200 if found.healthy else 503, {"Cache-Control": "no-store"})

    async def readyz(self, _: Request) -> Response:
        """Ready: the books can be read, every job has begun, and none waits for somebody to change something.

        A machine that is lost does not make it unready: the collector retries, and nothing is missing yet.
        """
        waiting = [{"name": job.name, "state": str(job.state)} for job in waits(self._health)]
        ready = verdict(self._health, await self._feed.books()).ready
        return _json({"ready": ready, "waiting_for": waiting}, 200 if ready else 503)


def _json(told: object, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(told), status, headers, "application/json")


class Events:
    """The stream of server-sent events (HTML Living Standard, 9.2), one call per open page."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._feed.full:
            await Response(status_code=503, headers={"Retry-After": "5"})(scope, receive, send)
            return
        reader = await self._feed.join(scope.get("collector.abort", lambda: None))
        try:
            async with asyncio.TaskGroup() as group:
                leaving = group.create_task(_until_gone(receive, reader), name="page-reader")
                await _stream(reader, send, scope["method"])
                leaving.cancel()
        finally:
            self._feed.leave(reader)


async def _until_gone(receive: Receive, reader: Reader) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    reader.close()


async def _stream(reader: Reader, send: Send, method: str) -> None:
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if method != "HEAD":
        await send({"type": "http.response.body", "body": b"retry: 1000\n\n", "more_body": True})
        async for piece in reader.frames():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _static() -> list[Route]:
    root = files("collector.page") / "static"
    found = {
        path: _file(content, TYPES[path[path.rindex(".") :]]) for path, content in _walk(root, "/static")
    }
    return [Route(path, answer) for path, answer in {"/": found["/static/index.html"], **found}.items()]


def _walk(folder: Traversable, path: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        below = f"{path}/{entry.name}"
        found += _walk(entry, below) if entry.is_dir() else [(below, entry.read_bytes())]
    return found


def _file(content: bytes, media: str) -> Callable[[Request], Awaitable[Response]]:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    async def answer(request: Request) -> Response:
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers | {"Content-Type": media})

    return answer
