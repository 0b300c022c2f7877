"""A scripted InfluxDB: stores what it is sent, or answers what the script says. Real ones cannot be told to misbehave."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from simulators.doors import kept, shut
from tests.influxdb.lines import Read, read_all


class Request(NamedTuple):
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back. stores: take the lines in first. drops: close the connection instead. hangs: answer never.

    resets: tear the connection down (TCP reset) "before", "during" or "after" the body is read. delay: s before the answer.
    drips: s between two bytes of the answer. endless: a body without an end.
    """

    status: int = 204
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    stores: bool = False
    drops: bool = False
    hangs: bool = False
    resets: str = ""
    delay: float = 0.0
    drips: float = 0.0
    endless: bool = False


def refusal(status: int, message: str) -> Answer:
    """As InfluxDB words it."""
    body = json.dumps({"error": message, "code": "invalid", "message": message}).encode()
    return Answer(status, body, {"Content-Type": "application/json"})


Stored = dict[tuple[str, tuple[tuple[str, str], ...], int], dict[str, Any]]


class Fake:
    """`script`: answers to the coming writes, then `rule` decides, then they are stored. `points` is what is stored.

    limit: bytes of a body, beyond which it says 413. swallows: says whether to forget a write (by its number) and answer
    204. portal: a captive portal answers everything. readable: whether queries are allowed. rights: the answer about tokens. token: the one that is right.
    """

    def __init__(self, place: str = "machines") -> None:
        self.place = place
        self.places = {place}
        self.script: deque[Answer] = deque()
        self.rule: Callable[[list[Read], bytes], Answer | None] = lambda _lines, _body: None
        self.token: str | None = None
        self.limit = 10**9
        self.swallows: Callable[[int], bool] = lambda _number: False
        self.swallowed = 0
        self.portal = False
        self.readable = True
        self.rights = refusal(401, "unauthorized access")
        self.tls: ssl.SSLContext | None = None
        self.most_at_once = self._at_once = 0
        self.requests: list[Request] = []
        self.points: Stored = {}
        self.port = 0
        self._server: asyncio.Server | None = None
        self._place: socket.socket | None = None  # while it is stopped
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.requests if request.path.endswith("/write")]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self._let_go()

    async def pause(self) -> None:
        """Stop, and keep the port for the next `start`."""
        await self.stop(keeping=True)

    async def stop(self, *, keeping: bool = False) -> None:
        self._let_go()
        if self._server is None:
            return
        await shut(self._server)
        self._place = kept("127.0.0.1", self.port) if keeping else None
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()
        self._server = None

    def _let_go(self) -> None:
        if self._place is not None:
            self._place.close()
            self._place = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while (head := await _read_head(reader)) is not None:
                if await self._reset(head, reader, writer):
                    break
                request = head._replace(body=await reader.readexactly(_length(head)))
                self.requests.append(request)
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                answer = self._answer(request)
                go_on = await self._reply(writer, answer)
                self._at_once -= 1
                if not go_on:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self._open.discard(writer)
            writer.close()

    async def _reset(self, head: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the script says to tear the connection down, and it was done."""
        if not head.path.endswith("/write") or not self.script or not self.script[0].resets:
            return False
        answer = self.script.popleft()
        share = {"before": 0.0, "during": 0.5, "after": 1.0}[answer.resets]
        body = await reader.readexactly(int(_length(head) * share))
        self.requests.append(head._replace(body=body))
        if answer.stores:
            self._store(list(read_all(body.decode())))
        writer.transport.abort()
        return True

    async def _reply(self, writer: asyncio.StreamWriter, answer: Answer) -> bool:
        await asyncio.sleep(answer.delay)
        if answer.hangs:
            await asyncio.Event().wait()
        if answer.drops:
            return False
        length = {} if answer.endless else {"Content-Length": str(len(answer.body))}
        headers = {**length, **answer.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        text = f"HTTP/1.1 {answer.status} X\r\n{head}\r\n".encode() + answer.body
        if answer.drips:
            await _drip(writer, text, answer.drips)
        writer.write(text if not answer.drips else b"")
        while answer.endless:
            writer.write(b"x" * 65536)
            await writer.drain()
        await writer.drain()
        return True

    def _answer(self, request: Request) -> Answer:
        if self.portal:
            return Answer(200, b"<html>Welcome, please log in</html>", {"Content-Type": "text/html"})
        if self.token is not None and request.headers.get("authorization") != f"Token {self.token}":
            return refusal(401, "unauthorized access")
        if request.path.endswith("/write"):
            return self._write(request)
        return self._manage(request)

    def _write(self, request: Request) -> Answer:
        lines = list(read_all(request.body.decode()))
        if len(request.body) > self.limit and not self.script:
            return refusal(413, "request entity too large")
        answer = self.script.popleft() if self.script else self.rule(lines, request.body)
        if request.query.get("bucket", request.query.get("db")) not in self.places:
            return refusal(404, f'bucket "{request.query.get("bucket")}" not found')
        if answer is None and self.swallows(len(self.writes)):
            self.swallowed += 1
        elif answer is None or answer.stores:
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
        if request.path == "/api/v2/authorizations":
            return self.rights
        if request.path == "/api/v2/query":
            return self._flux(request.body.decode())
        if request.path == "/query" and request.query["q"].startswith("SELECT"):
            return self._influxql(request.query["q"])
        return refusal(404, "path not found")

    def _influxql(self, text: str) -> Answer:
        if not self.readable:
            return refusal(403, "not authorized to read")
        begin, end = (int(found) for found in re.findall(r"time [<>]= (\d+)", text))
        rows = [[at, fields["n"]] for at, fields in self._canaries(begin, end)]
        series = [{"name": "collector_canary", "columns": ["time", "n"], "values": rows}] if rows else []
        return Answer(200, json.dumps({"results": [{"statement_id": 0, "series": series}]}).encode())

    def _flux(self, text: str) -> Answer:
        """As InfluxDB 2 documents it: annotated CSV, and no such bucket for who may not read."""
        if not self.readable:
            return refusal(404, "failed to initialize execute state: could not find bucket")
        begin, end = (int(found) for found in re.findall(r"time\(v: (\d+)\)", text))
        rows = "".join(f",_result,0,{at}\r\n" for at, _ in self._canaries(begin, end - 1))
        head = "#datatype,string,long,long\r\n#group,false,false,false\r\n#default,_result,,\r\n,result,table,at\r\n"
        return Answer(200, (f"{head}{rows}\r\n" if rows else "\r\n").encode(), {"Content-Type": "text/csv"})

    def _canaries(self, begin: int, end: int) -> list[tuple[int, dict[str, Any]]]:
        return sorted(
            (at, fields)
            for (measurement, _, at), fields in self.points.items()
            if measurement == "collector_canary" and begin <= at <= end
        )


async def _read_head(reader: asyncio.StreamReader) -> Request | None:
    first = await reader.readline()
    if not first:
        return None
    method, target, _ = first.decode().split(" ")
    headers = {}
    while (line := (await reader.readline()).decode().strip()) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return Request(method, parts.path, query, headers, b"")


def _length(head: Request) -> int:
    return int(head.headers.get("content-length", "0"))


async def _drip(writer: asyncio.StreamWriter, text: bytes, pause: float) -> None:
    for i in range(len(text)):
        writer.write(text[i : i + 1])
        await writer.drain()
        await asyncio.sleep(pause)


@asynccontextmanager
async def fake(place: str = "machines") -> AsyncIterator[Fake]:
    server = Fake(place)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
