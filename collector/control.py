"""The local control channel: commands such as `status` and `tap` speak to the running collector, not to its files.

TCP on 127.0.0.1 with a port chosen by the system and a token, both in a file that only the owner can read. Not a Unix
socket: those do not exist on every Windows and their paths are limited to 107 bytes; one way for all systems.
One request per connection: a line of JSON {"token", "command", …}; the answer is lines of JSON and an empty one behind the last,
so that nothing to say and an end before everything was said are two things. Ahead of them, at once, comes an empty object:
a command may take its time, but who does not greet is another program that has the port of a collector that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from adapters.awake import patient
from collector.doors import shut

log = logging.getLogger("collector")

FILE = "control.json"
_LINE = 1 << 16

GREETING: Final = b"{}\n"
HELLO = 15.0
"""Seconds until whoever listens at the port has greeted."""

Answer = AsyncIterator[Mapping[str, Any]]
Commands = Mapping[str, Callable[[Mapping[str, Any]], Answer]]


class NotRunning(Exception):
    """No collector answers for this state folder."""


@asynccontextmanager
async def serve_control(state_dir: Path, commands: Commands) -> AsyncIterator[None]:
    """Answer commands while the body runs; the file with port and token exists exactly that long."""
    token = secrets.token_urlsafe(24)

    path = state_dir / FILE
    async with asyncio.TaskGroup() as clients:

        def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            open_clients.append(clients.create_task(_client(reader, writer, token, commands)))
            open_clients[:] = [task for task in open_clients if not task.done()]

        open_clients: list[asyncio.Task[None]] = []
        server = await asyncio.start_server(client, "127.0.0.1", 0, limit=_LINE)
        port = server.sockets[0].getsockname()[1]
        _write_private(path, json.dumps({"port": port, "token": token, "pid": os.getpid()}))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            try:
                await shut(server)
            finally:
                for task in open_clients:
                    task.cancel()


async def _client(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, commands: Commands
) -> None:
    try:
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
            await _serve(reader, writer, token, commands)
    finally:
        writer.close()


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, commands: Commands
) -> None:
    async with patient(5):  # of ours: whoever asked while the process stood still has asked in time
        request = json.loads(await reader.readline())
    if not isinstance(request, dict) or not hmac.compare_digest(
        str(request.get("token", "")).encode(), token.encode()
    ):
        return
    writer.write(GREETING)
    await writer.drain()
    command = commands.get(str(request.get("command")))
    if command is None:
        await _send(writer, {"error": f"unknown command {request.get('command')!r}"})
        return
    await _answer(writer, command(request))


async def _answer(writer: asyncio.StreamWriter, rows: Answer) -> None:
    """A command that fails is told so and ends no collector, as long as the buffer is well."""
    from collector.supervisor import attempted

    error = await attempted(_send_all(writer, rows))
    if isinstance(error, ConnectionError):
        return
    if error is not None:
        log.error("a command was ended by an error that nobody foresaw", exc_info=error)
        await _send(writer, {"error": f"an error that nobody foresaw, see the log: {error!r}"})
    writer.write(b"\n")
    await writer.drain()


async def _send_all(writer: asyncio.StreamWriter, rows: Answer) -> None:
    async for row in rows:
        await _send(writer, row)


async def _send(writer: asyncio.StreamWriter, row: Mapping[str, Any]) -> None:
    writer.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    await writer.drain()


def _write_private(path: Path, text: str) -> None:
    """A file only for its owner, complete or absent: written aside and moved into place."""
    aside = path.with_suffix(".new")
    aside.unlink(missing_ok=True)
    with os.fdopen(
        os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    aside.replace(path)


async def ask(state_dir: Path, command: str, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
    """The rows that the running collector answers. Raises NotRunning, also if it ends before it has answered anything."""
    try:
        door = json.loads((state_dir / FILE).read_text(encoding="utf-8"))
        reader, writer = await asyncio.open_connection("127.0.0.1", door["port"], limit=1 << 24)
    except (OSError, ValueError) as error:
        raise NotRunning(f"no collector is running with its state in {state_dir}") from error
    answered = False
    try:
        with contextlib.suppress(ConnectionError, ValueError):  # killed, or somebody else has its port by now
            await _send(writer, {"token": door["token"], "command": command, **arguments})
            line = await _greeted(reader)
            while line.endswith(b"\n"):
                if line == b"\n":
                    return
                row = json.loads(line)
                answered = True
                yield row
                line = await reader.readline()
    except TimeoutError as error:
        raise NotRunning(f"nobody answers for the collector with its state in {state_dir}") from error
    finally:
        writer.close()
    if not answered:
        raise NotRunning(f"the collector with its state in {state_dir} ended before it answered")


async def _greeted(reader: asyncio.StreamReader) -> bytes:
    """The line behind the greeting. A collector of before the greeting begins with its answer."""
    async with patient(HELLO):
        line = await reader.readline()
    return await reader.readline() if line == GREETING else line
