"""HTTP to InfluxDB, held to the rules: no retries, no redirects, verified TLS, bounded answers, and a deadline for the whole.

urllib3 for both APIs and not the client library's write service: that one reads an answer of any length, for as long as
the server goes on sending a byte now and then (decisions/0003-influxdb-write-path.md). Everything here blocks: it runs in
the session's thread. A thread cannot be cancelled, so `abort` and the deadline shut its socket down and the request
fails at once.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlencode

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from adapters.errors import Misconfigured, NotConnected
from adapters.influxdb.border import translate
from adapters.influxdb.deadline import Watcher
from adapters.influxdb.express import Express
from adapters.influxdb.settings import InfluxDbSink

CONNECT_TIMEOUT = 4.0
"""Seconds, below the grace period of a session: a connection attempt is the one thing that cannot be interrupted."""

LONGEST_ANSWER = 64 * 1024
"""Bytes that are read of an answer; a reading of the canary may be longer (canary.py)."""


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    text: str


class Wire:
    """Requests to one server with its credentials. Used by one thread at a time; `abort` by any."""

    def __init__(self, settings: InfluxDbSink) -> None:
        self._settings = settings
        self._connections = _Connections()
        self._watcher = Watcher(self._connections.shut)
        self._connect_timeout = min(CONNECT_TIMEOUT, settings.timeout)
        self._pool = _pool(settings, self._connections)
        self._headers = {**_credentials(settings), "Accept-Encoding": "identity"}
        self._path, place = _place(settings)
        self._query = {**place, "precision": "ns"}
        self._express = Express(LONGEST_ANSWER)

    def write(self, body: bytes) -> Reply:
        """One request with lines; times are nanoseconds."""
        with self._deadline():
            try:
                answer = self._express.write(body)
            except (OSError, HTTPException) as error:
                raise translate(urllib3.exceptions.ProtocolError(error), self._settings.url) from error
        if answer is not None:
            return Reply(*answer)
        reply = self.request("POST", self._path, self._query, body)
        if reply.status == 204:
            self._express.learn(*self._connections.last)
        return reply

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        content_type: str = "text/plain; charset=utf-8",
        longest: int = LONGEST_ANSWER,
    ) -> Reply:
        """The answer, of which at most `longest` bytes are read. Raises NotConnected or Misconfigured."""
        url = self._settings.url + path + (f"?{urlencode(query)}" if query else "")
        headers = {**self._headers, **({} if body is None else {"Content-Type": content_type})}
        with self._deadline():
            try:
                return self._exchange(method, url, headers, body, longest)
            except urllib3.exceptions.HTTPError as error:
                raise translate(error, self._settings.url) from error

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, longest: int
    ) -> Reply:
        timeout = urllib3.Timeout(connect=self._connect_timeout, read=self._settings.timeout)
        answer = self._pool.request(
            method, url, body=body, headers=headers, timeout=timeout,
            retries=False, redirect=False, preload_content=False, decode_content=False,
        )  # fmt: skip
        text = answer.read(longest).decode(errors="replace")
        if answer.read(1):  # longer than anything that InfluxDB says: the rest is not worth a connection
            answer.close()
        answer.release_conn()
        return Reply(answer.status, dict(answer.headers), text)

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """`timeout` for a request as a whole: a read timeout alone begins anew with every byte that drips in."""
        limit = self._connect_timeout + self._settings.timeout
        self._watcher.begin(limit)
        try:
            yield
        except NotConnected as error:
            if self._watcher.end():
                raise self._overdue(limit) from error
            raise
        finally:
            late = self._watcher.end()
        if late:  # the answer ended with the connection, and may be half of one
            raise self._overdue(limit)

    def _overdue(self, limit: float) -> NotConnected:
        return NotConnected(
            f"InfluxDB at {self._settings.url} did not finish its answer within {limit:g} s",
            "Look at the load of the server; a longer timeout may help.",
        )

    def abort(self) -> None:
        """End whatever request is under way; every later one fails too."""
        self._connections.end()

    def close(self) -> None:
        """When nobody uses it any more. A pool of urllib3 alone would close with the next garbage collection."""
        self._watcher.close()
        self._pool.clear()
        self._connections.close()


class _Connections:
    """The connections that a pool made, so that they can be ended from outside."""

    def __init__(self) -> None:
        self._made: list[HTTPConnection] = []
        self._lock = threading.Lock()
        self._ended = False
        self.last: tuple[HTTPConnection | None, bytes] = (None, b"")
        """The connection that the last request went over, and its head."""

    def sent(self, connection: HTTPConnection, part: object) -> None:
        """The head of a request is one part and comes before its body."""
        if isinstance(part, bytes) and part.startswith(b"POST "):
            self.last = (connection, part)

    def add(self, new: HTTPConnection) -> None:
        with self._lock:
            self._made = [
                *(known for known in self._made if known.sock is not None and known is not new),
                new,
            ]
        if self._ended:
            self.shut()

    def end(self) -> None:
        self._ended = True
        self.shut()

    def shut(self) -> None:
        with self._lock:
            for known in self._made:
                _shut(known.sock)

    def close(self) -> None:
        for known in self._made:
            known.close()


def _shut(known: socket.socket | None) -> None:
    """The connection, and not TLS: Python's `SSLSocket.shutdown` takes the encryption away before it ends the connection, and
    what the other thread sends in between would go out as it is.
    """
    try:
        if known is not None:
            socket.socket.shutdown(known, socket.SHUT_RDWR)
    except OSError:
        logging.getLogger(__name__).debug("the socket was closed already")


def _pool(settings: InfluxDbSink, connections: _Connections) -> urllib3.PoolManager:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            connections.add(self)

        def send(self, data: Any) -> None:
            connections.sent(self, data)
            super().send(data)

    class Encrypted(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            connections.add(self)

        def send(self, data: Any) -> None:
            connections.sent(self, data)
            super().send(data)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Encrypted

    pool = urllib3.PoolManager(num_pools=1, maxsize=1, ssl_context=_trust(settings), retries=False)
    pool.pool_classes_by_scheme = {"http": PlainPool, "https": EncryptedPool}
    return pool


def _trust(settings: InfluxDbSink) -> ssl.SSLContext | None:
    """Always verified, host name included; `ca` replaces the system's authorities."""
    if settings.address.scheme != "https":
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"The certificates in {settings.ca} cannot be read: {error}", "Give a PEM file as ca."
        ) from error


def _place(settings: InfluxDbSink) -> tuple[str, dict[str, str]]:
    """Path and query of a write."""
    if settings.api == "v1":
        return "/write", {"db": settings.database}
    return "/api/v2/write", {"org": settings.org, "bucket": settings.bucket}


def _credentials(settings: InfluxDbSink) -> dict[str, str]:
    if settings.token is not None:
        return {"Authorization": f"Token {settings.token.get_secret_value()}"}
    if settings.password is not None:
        return urllib3.make_headers(basic_auth=f"{settings.username}:{settings.password.get_secret_value()}")
    return {}


def message_of(reply: Reply) -> str:
    """The server's own words: JSON `error` (v1, v3) or `message` (v2), with the first detail (v3); else ''."""
    try:
        answer = json.loads(reply.text)
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    said = str(answer.get("error") or answer.get("message") or "")
    details = answer.get("data")
    detail = details[0] if isinstance(details, list) and details else details
    reason = detail.get("error_message") if isinstance(detail, dict) else None
    return f"{said}: {reason}"[:500] if said and reason else said[:500]
