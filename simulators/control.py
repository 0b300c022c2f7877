"""The HTTP control API of a running workshop: JSON, on this computer only, for tests and for a button in a demonstration.

A page in a browser cannot use it behind its user's back: the Host must be this computer, and what changes something must be
JSON, which a foreign page may not send unasked. The server is a guest: it leaves the signals to the run.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from simulators.commands import Commands
from simulators.errors import SimulatorError

MAX_BODY: Final = 64_000
LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")
STOPPING: Final = 2.0  # s
HELP: Final = """GET  /health /state /faults /config
POST /inject {"machine": "cnc-1", "fault": "tool_break", "for": 30}   also: "signal", "amount"
POST /clear  {"machine": "cnc-1", "fault": "tool_break"}
POST /set    {"machine": "imm-1", "signal": "zone_3_set", "value": 240}   also: POST /machines/imm-1/set
POST /reset  "cnc-1" or null        POST /advance 10        POST /stop null
"""


def application(commands: Commands, config: Path) -> Starlette:
    """The routes; see HELP."""

    async def ask(request: Request) -> Response:
        return _json(await commands.obey(request.path_params["word"]))

    async def do(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return _json({"event": "refused", "reason": "send application/json"}, 415)
        try:
            body = await request.body()
        except ClientDisconnect:
            return Response(status_code=400)  # that nobody reads
        if len(body) > MAX_BODY:
            return _json({"event": "refused", "reason": "too long"}, 413)
        try:
            given = _given(request, msgspec.json.decode(body or b"null"))
            return _json(await commands.obey(request.path_params["word"], given))
        except (SimulatorError, msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            return _json({"event": "refused", "reason": str(error)}, 400)

    routes = [
        Route("/", _endpoint(lambda: PlainTextResponse(HELP))),
        Route("/health", _endpoint(lambda: _json({"status": "ok"}))),
        Route(
            "/config", _endpoint(lambda: PlainTextResponse(config.read_text("utf-8"), media_type="text/yaml"))
        ),
        Route("/{word:str}", _guarded(ask, ("state", "faults")), methods=["GET"]),
        Route("/machines/{machine:str}/{word:str}", _guarded(do, ("set",)), methods=["POST"]),
        Route(
            "/{word:str}",
            _guarded(do, ("go", "stop", "inject", "clear", "reset", "advance", "set")),
            methods=["POST"],
        ),
    ]
    return Starlette(routes=routes)


def _given(request: Request, body: Any) -> Any:
    """What was sent; a machine that stands in the address is part of it."""
    machine = request.path_params.get("machine")
    return body if machine is None or not isinstance(body, dict) else {**body, "machine": machine}


def _endpoint(make: Any) -> Any:
    async def endpoint(request: Request) -> Response:
        response: Response = make() if _is_local(request) else _foreign()
        return response

    return endpoint


def _guarded(handle: Any, words: tuple[str, ...]) -> Any:
    async def endpoint(request: Request) -> Response:
        if not _is_local(request):
            return _foreign()
        if request.path_params["word"] not in words:
            return _json({"event": "refused", "reason": f"there are {', '.join(words)}"}, 404)
        response: Response = await handle(request)
        return response

    return endpoint


def _is_local(request: Request) -> bool:
    return request.headers.get("host", "").rpartition(":")[0] in LOCAL


def _foreign() -> Response:
    return _json({"event": "refused", "reason": "only this computer may ask, as 127.0.0.1 or localhost"}, 403)


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


class _Guest(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def open_control(commands: Commands, config: Path, port: int) -> AsyncIterator[str]:
    """Serve on 127.0.0.1:port (0: a free one) until left; yields the URL."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise SimulatorError(
            f"the control API cannot listen on 127.0.0.1:{port} ({error}). Choose another --control."
        ) from error
    app = application(commands, config)
    server = _Guest(
        uvicorn.Config(
            app, ws="none", lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
    )
    failed: SimulatorError | None = None
    with listener:
        listener.listen(64)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(sockets=[listener]))
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            except SimulatorError as error:
                failed = error  # raised in here, the group would make a group of it, which nobody can read
            finally:
                server.should_exit = True
                await asyncio.wait([serving], timeout=STOPPING)
    if failed is not None:
        raise failed
