"""A scripted InfluxDB: stores what it is sent, or answers what the script says. Real ones cannot be told to misbehave."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.influxdb.lines import Read, read_all


class Request(NamedTuple):
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back. stores: take the lines in first. drops: close the connection instead. hangs: answer never."""

    status: int = 204
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    stores: bool = False
    drops: bool = False
    hangs: bool = False


def refusal(status: int, message: str) -> Answer:
    """As InfluxDB words it."""
    body = json.dumps({"error": message, "code": "invalid", "message": message}).encode()
    return Answer(status, body, {"Content-Type": "application/json"})


Stored = dict[tuple[str, tuple[tuple[str, str], ...], int], dict[str, Any]]


class Fake:
    """`script`: answers to the coming writes, then `rule` decides, then they are stored. `points` is what is stored."""

    def __init__(self, place: str = "machines") -> None:
        self.place = place
        self.places = {place}
        self.script: deque[Answer] = deque()
        self.rule: Callable[[list[Read], bytes], Answer | None] = lambda _lines, _body: None
        self.token: str | None = None
        self.requests: list[Request] = []
        self.points: Stored = {}
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.requests if request.path.endswith("/write")]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                if not await self._reply(writer, self._answer(request)):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self._open.discard(writer)
            writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, answer: Answer) -> bool:
        if answer.hangs:
            await asyncio.Event().wait()
        if answer.drops:
            return False
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {answer.status} X\r\n{head}\r\n".encode() + answer.body)
        await writer.drain()
        return True

    def _answer(self, request: Request) -> Answer:
        if self.token is not None and request.headers.get("authorization") != f"Token {self.token}":
            return refusal(401, "unauthorized access")
        if request.path.endswith("/write"):
            return self._write(request)
        return self._manage(request)

    def _write(self, request: Request) -> Answer:
        lines = list(read_all(request.body.decode()))
        answer = self.script.popleft() if self.script else self.rule(lines, request.body)
        if request.query.get("bucket", request.query.get("db")) not in self.places:
            return refusal(404, f'bucket "{request.query.get("bucket")}" not found')
        if answer is None or answer.stores:
            self._store(lines)
        return answer if answer is not None else Answer(204)

    def _store(self, lines: list[Read]) -> None:
        for line in lines:
            place = (line.measurement, tuple(sorted(line.tags.items())), line.at)
            self.points.setdefault(place, {}).update(line.fields)

    def _manage(self, request: Request) -> Answer:
        if request.path == "/ping":
            return Answer(204, headers={"X-Influxdb-Version": "v2.7.fake"})
        if request.path == "/api/v2/orgs":
            return Answer(200, json.dumps({"orgs": [{"id": "17", "name": request.query["org"]}]}).encode())
        if request.path == "/api/v2/buckets" and request.method == "POST":
            wanted = json.loads(request.body)
            assert wanted["orgID"] == "17"
            self.places.add(wanted["name"])
            return Answer(201, json.dumps({"id": "18", "name": wanted["name"]}).encode())
        return refusal(404, "path not found")


async def _read(reader: asyncio.StreamReader) -> Request | None:
    first = await reader.readline()
    if not first:
        return None
    method, target, _ = first.decode().split(" ")
    headers = {}
    while (line := (await reader.readline()).decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return Request(method, parts.path, query, headers, body)


@asynccontextmanager
async def fake(place: str = "machines") -> AsyncIterator[Fake]:
    server = Fake(place)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
