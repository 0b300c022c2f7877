"""HTTP to InfluxDB, held to the rules: no retries, no redirects, verified TLS, explicit timeouts, and one that can be ended.

API v2 is written through the client library's low-level write service, v1 through the urllib3 that it brings, both over
one pool of ours (decisions/0003-influxdb-write-path.md says why). Everything here blocks: it runs in the session's
thread. A thread cannot be cancelled, so `abort` shuts its socket down and the request fails at once.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import urllib3
from influxdb_client.rest import ApiException
from urllib3.connection import HTTPConnection, HTTPSConnection

from adapters.errors import AdapterError, Misconfigured, NotConnected
from adapters.influxdb.settings import InfluxDbSink

CONNECT_TIMEOUT = 4.0
"""Seconds, below the grace period of a session: a connection attempt is the one thing that cannot be interrupted."""


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    text: str


class Wire:
    """Requests to one server with its credentials. Used by one thread at a time; `abort` by any."""

    def __init__(self, settings: InfluxDbSink) -> None:
        self._settings = settings
        self._connections = _Connections()
        self._connect_timeout = min(CONNECT_TIMEOUT, settings.timeout)
        self._pool = _pool(settings, self._connections)
        self._headers = _credentials(settings)
        self._writes = _write_service(settings, self._pool, self._headers) if settings.api == "v2" else None

    def write(self, body: bytes) -> Reply:
        """One request with lines; times are nanoseconds."""
        if self._writes is None:
            query = {"db": self._settings.database, "precision": "ns"}
            return self.request("POST", "/write", query, body)
        milliseconds = (self._connect_timeout * 1000, self._settings.timeout * 1000)
        try:
            _, status, headers = self._writes.post_write_with_http_info(
                self._settings.org,
                self._settings.bucket,
                body,
                precision="ns",
                _request_timeout=milliseconds,
                urlopen_kw={"redirect": False, "retries": False},
            )
        except (ApiException, urllib3.exceptions.HTTPError, UnicodeDecodeError) as error:
            return self._reply_in(error)
        return Reply(status, dict(headers), "")

    def _reply_in(self, error: Exception) -> Reply:
        """The library raises for an answer that is not 2xx; one without a status never came."""
        if isinstance(error, ApiException) and error.status:
            return Reply(int(error.status), dict(error.headers or {}), str(error.body or ""))
        raise self._failed(error) from error

    def request(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Reply:
        url = self._settings.url + path + (f"?{urlencode(query)}" if query else "")
        try:
            answer = self._pool.request(
                method,
                url,
                body=body,
                headers=self._headers,
                timeout=urllib3.Timeout(connect=self._connect_timeout, read=self._settings.timeout),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise self._failed(error) from error
        return Reply(answer.status, dict(answer.headers), answer.data.decode(errors="replace"))

    def _failed(self, error: Exception) -> AdapterError:
        return translate(error, self._settings.url)

    def abort(self) -> None:
        """End whatever request is under way; every later one fails too."""
        self._connections.shut()

    def close(self) -> None:
        """When nobody uses it any more. A pool of urllib3 alone would close with the next garbage collection."""
        self._pool.clear()
        self._connections.close()


class _Connections:
    """The connections that a pool made, so that they can be ended from outside."""

    def __init__(self) -> None:
        self._made: list[HTTPConnection] = []
        self._lock = threading.Lock()
        self._ended = False

    def add(self, new: HTTPConnection) -> None:
        with self._lock:
            self._made = [
                *(known for known in self._made if known.sock is not None and known is not new),
                new,
            ]
        if self._ended:
            self.shut()

    def shut(self) -> None:
        self._ended = True
        with self._lock:
            for known in self._made:
                _shut(known.sock)

    def close(self) -> None:
        for known in self._made:
            known.close()


def _shut(known: socket.socket | None) -> None:
    try:
        if known is not None:
            known.shutdown(socket.SHUT_RDWR)
    except OSError:
        logging.getLogger(__name__).debug("the socket was closed already")


def _pool(settings: InfluxDbSink, connections: _Connections) -> urllib3.PoolManager:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            connections.add(self)

    class Encrypted(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            connections.add(self)

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


def _credentials(settings: InfluxDbSink) -> dict[str, str]:
    if settings.token is not None:
        return {"Authorization": f"Token {settings.token.get_secret_value()}"}
    if settings.password is not None:
        return urllib3.make_headers(basic_auth=f"{settings.username}:{settings.password.get_secret_value()}")
    return {}


def _write_service(settings: InfluxDbSink, pool: urllib3.PoolManager, headers: Mapping[str, str]) -> Any:
    from influxdb_client._sync.api_client import ApiClient
    from influxdb_client.configuration import Configuration
    from influxdb_client.service.write_service import WriteService

    configuration: Any = Configuration()  # type: ignore[no-untyped-call]
    configuration.host = settings.url
    client: Any = ApiClient(configuration=configuration, retries=False)  # type: ignore[no-untyped-call]
    client.rest_client.pool_manager = pool
    for name, value in headers.items():
        client.set_default_header(name, value)
    return WriteService(client)  # type: ignore[no-untyped-call]


def message_of(reply: Reply) -> str:
    """The server's own words: JSON `error` (v1, v3) or `message` (v2), else ''."""
    try:
        answer = json.loads(reply.text)
    except ValueError:
        return ""
    found = (answer.get("error") or answer.get("message")) if isinstance(answer, dict) else None
    return str(found or "")[:500]


BORDER: Mapping[str, type[AdapterError]] = {
    "PoolError": NotConnected,
    "RequestError": NotConnected,
    "ProxyError": NotConnected,
    "DecodeError": NotConnected,
    "ProtocolError": NotConnected,
    "MaxRetryError": NotConnected,
    "HostChangedError": NotConnected,
    "TimeoutStateError": NotConnected,
    "TimeoutError": NotConnected,
    "ReadTimeoutError": NotConnected,
    "ConnectTimeoutError": NotConnected,
    "NewConnectionError": NotConnected,
    "NameResolutionError": NotConnected,
    "EmptyPoolError": NotConnected,
    "FullPoolError": NotConnected,
    "ClosedPoolError": NotConnected,
    "ResponseError": NotConnected,
    "ResponseNotChunked": NotConnected,
    "BodyNotHttplibCompatible": NotConnected,
    "IncompleteRead": NotConnected,
    "InvalidChunkLength": NotConnected,
    "InvalidHeader": NotConnected,
    "HeaderParsingError": NotConnected,
    "UnrewindableBodyError": NotConnected,
    "HTTPError": NotConnected,
    "ApiException": NotConnected,
    "InfluxDBError": NotConnected,
    "UnicodeDecodeError": NotConnected,
    "SSLError": Misconfigured,
    "LocationValueError": Misconfigured,
    "LocationParseError": Misconfigured,
    "URLSchemeUnknown": Misconfigured,
    "ProxySchemeUnknown": Misconfigured,
    "ProxySchemeUnsupported": Misconfigured,
}
"""Every error of urllib3 and of the client library, by name; a test proves that none is missing."""


def translate(error: Exception, url: str) -> AdapterError:
    """The library's error as one of the four."""
    if isinstance(error, ApiException):  # without a status: only raised by the library for TLS
        return _untrusted(str(error.reason), url)
    if isinstance(error, urllib3.exceptions.SSLError):
        return _untrusted(str(error), url)
    kind = BORDER.get(type(error).__name__, NotConnected)
    remedy = (
        "Is the server running, and is the address right?" if kind is NotConnected else "Correct the url."
    )
    return kind(f"InfluxDB at {url}: {type(error).__name__}: {error}", remedy)


def _untrusted(reason: str, url: str) -> Misconfigured:
    return Misconfigured(
        f"InfluxDB at {url} is not who it should be, or does not speak TLS: {' '.join(reason.split())}",
        "If its certificate comes from an authority of your own, name that authority's file as ca.",
    )
