"""The one place that touches asyncua's private names: a connection with a session, raw answers, and nothing automatic.

`Client.connect()` is not used: it starts a supervisor that reconnects behind our back. The steps are called one by one,
a new `Client` for every connection (an old one may hang, upstream issue 1660), and publish requests go past the library's
publish loop, which keeps one in flight and acknowledges what nobody has stored. tests/opcua/test_channel.py fails clearly
when a name that is used here is gone, and `asyncua==2.1.0` is pinned.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClientState, UASocketProtocol
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.crypto.uacrypto import x509_from_der
from asyncua.ua.ua_binary import nodeid_to_binary, struct_from_binary
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from adapters.opcua.certificate import OwnCertificate
from adapters.opcua.errors import FOREIGN
from adapters.opcua.requests import Encode, publish_request

PINNED: Final = "2.1.0"
LARGEST_CHUNK: Final = 65_535
LARGEST_MESSAGE: Final = 16 * 2**20
_CLOSING: Final = 1.5  # s for saying goodbye; the whole of leaving has adapters.base.GRACE
_PRODUCT: Final = "urn:shopfloor-collector"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to introduce ourselves. own and server_certificate (DER) are None for a connection without security."""

    own: OwnCertificate | None = None
    server_certificate: bytes | None = None
    username: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """One endpoint of a server, as it says itself and nobody has proven yet."""

    mode: str  # None_, Sign, SignAndEncrypt
    policy: str  # the last part of the policy's URI, such as Basic256Sha256
    certificate: bytes  # DER, of the server alone; empty when there is none

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.certificate)


def fingerprint_of(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()


class GuardedProtocol(UASocketProtocol):
    """The library's transport with a bound on what it buffers, and an event for when the socket is gone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gone = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiting = self.receive_buffer
        if waiting is not None and len(waiting) >= 8 and self.transport is not None:
            announced = int.from_bytes(waiting[4:8], "little")
            if announced > LARGEST_CHUNK:
                self._fail_all_pending(ConnectionError(f"the server announced a chunk of {announced} bytes"))
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.gone.set()

    def send_encoded(self, encode: Encode) -> asyncio.Future[Any]:
        """The library's `_send_request` for a request whose bytes are there already; chunks and security stay its own."""
        if self.transport is None:
            raise ConnectionError("the connection is closed")
        self._request_handle += 1
        self._request_id += 1
        self.revolve_security_token()
        body = encode(self._request_handle)
        self.transport.write(self._connection.message_to_binary(body, request_id=self._request_id))
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._callbackmap[self._request_id] = answer
        return answer

    def set_limits(self, send: int) -> None:
        """What the library takes from the server's Acknowledge is mixed up (receive for send, 0 for no limit)."""
        limits = self._connection._limits  # noqa: SLF001
        limits.max_recv_buffer = LARGEST_CHUNK
        limits.max_send_buffer = min(LARGEST_CHUNK, send) if send else LARGEST_CHUNK
        limits.max_message_size = LARGEST_MESSAGE
        limits.max_chunk_count = LARGEST_MESSAGE // 1024


class Channel:
    """A connection to a server. `timeout`: s, for every single answer."""

    def __init__(self, url: str, timeout: float, lost: Callable[[], None] = lambda: None) -> None:
        self.url, self._timeout, self._lost = url, timeout, lost
        self._client = Client(url, timeout=timeout)
        self._client.uaclient._make_protocol = self._make_protocol  # type: ignore[method-assign]  # noqa: SLF001
        self._protocol: GuardedProtocol | None = None
        self.server_certificate = b""
        self._token = b""

    def _make_protocol(self) -> UASocketProtocol:
        uaclient = self._client.uaclient
        protocol = GuardedProtocol(self._timeout, security_policy=uaclient.security_policy)
        protocol.on_connection_lost = self._on_lost
        protocol.is_session_closing = uaclient._is_session_closing  # noqa: SLF001
        self._protocol = uaclient.protocol = protocol
        return protocol

    def _on_lost(self, error: Exception | None) -> None:
        self._client.uaclient._on_transport_lost(error)  # noqa: SLF001
        self._lost()

    async def offers(self) -> list[Offer]:
        """What the server offers, asked without security and without a session. Opens and closes the connection."""
        _quiet()
        try:
            async with asyncio.timeout(3 * self._timeout):
                await self._open_channel()
                found = await self._client.get_endpoints()
        finally:
            await self.close()
        return [_offer(endpoint) for endpoint in found if endpoint.EndpointUrl.startswith("opc.tcp")]

    async def open(self, credentials: Credentials, session_timeout: float) -> None:
        """Connect, with a session. Closes everything again when it fails; raises what the library raises."""
        _quiet()
        connected = False
        try:
            async with asyncio.timeout(3 * self._timeout):
                self._introduce(credentials, session_timeout)
                await self._open_channel()
                result = await self._client.create_session()
                self.server_certificate = _first_certificate(result.ServerCertificate or b"")
                await self._client.activate_session(credentials.username, credentials.password)
                self._token = bytes(nodeid_to_binary(result.AuthenticationToken))
            connected = True
        finally:
            if not connected:
                await self.close()

    def _introduce(self, credentials: Credentials, session_timeout: float) -> None:
        client, own = self._client, credentials.own
        client.session_timeout = int(session_timeout * 1000)
        client.name = client.description = "Shop-floor collector"
        client.product_uri = _PRODUCT
        client.application_uri = own.application_uri if own else _PRODUCT
        if own is None or credentials.server_certificate is None:
            return
        policy: Any = SecurityPolicyBasic256Sha256
        client.security_policy = policy(
            _x509(credentials.server_certificate),
            x509.load_der_x509_certificate(own.certificate),
            cast("Any", serialization.load_der_private_key(own.key, None)),
            ua.MessageSecurityMode.SignAndEncrypt,
        )
        client.uaclient.set_security(client.security_policy)

    async def _open_channel(self) -> None:
        await self._client.connect_socket()
        protocol = self._open_protocol()
        acknowledge = await protocol.send_hello(self.url, LARGEST_MESSAGE, 0)
        protocol.set_limits(acknowledge.ReceiveBufferSize)
        await self._client.open_secure_channel()

    def _open_protocol(self) -> GuardedProtocol:
        if self._protocol is None or self._protocol.transport is None:
            raise ConnectionError("the connection is closed")
        return self._protocol

    @property
    def session_timeout(self) -> float:
        """Seconds of silence after which the server forgets the session (revised)."""
        return float(self._client.session_timeout) / 1000

    @property
    def lifetime(self) -> float:
        """Seconds that the keys of the channel are good for (revised)."""
        return float(self._client.secure_channel_timeout) / 1000

    async def renew(self) -> None:
        """New keys for the channel (OPC 10000-4, 5.6.2)."""
        await self._client.open_secure_channel(renew=True)
        self._client.uaclient.revolve_security_token()

    async def call(self, request: Any, answer: type[Answer]) -> Answer:
        """One service call; raises UaStatusCodeError for a bad answer."""
        response = struct_from_binary(answer, await self._open_protocol().send_request(request))
        cast("Any", response).ResponseHeader.ServiceResult.check()
        return response

    async def call_raw(self, request: Any) -> bytes:
        """One service call; the answer as it came, service faults raised."""
        return bytes(await self._open_protocol().send_request(request))

    def publish(self, subscription: int, acknowledge: Iterable[int]) -> asyncio.Future[Any]:
        """Send a PublishRequest now. The future brings the answer (`bytes` of it are the body), a service fault included."""
        return self._open_protocol().send_encoded(publish_request(self._token, subscription, acknowledge))

    async def close(self) -> None:
        """Say goodbye if somebody listens, and release the socket in any case. Never raises for a lost connection."""
        client, protocol = self._client, self._protocol
        if protocol is None:
            return
        try:
            async with asyncio.timeout(_CLOSING):
                client.uaclient.request_disconnect()
                if client.uaclient.state in (UaClientState.CHANNEL_OPEN, UaClientState.CONNECTED):
                    await client.uaclient.close_session(delete_subscriptions=True)
                    await client.uaclient.close_secure_channel()
        except FOREIGN as error:
            logging.getLogger(__name__).debug("%s: leaving without an answer (%s)", self.url, error)
        finally:
            self._release(protocol)
        await protocol.gone.wait()

    def _release(self, protocol: GuardedProtocol) -> None:
        if protocol.transport is None:
            protocol.gone.set()
            return
        self._client.disconnect_socket()
        if protocol.transport.get_write_buffer_size():
            protocol.transport.abort()


def _quiet() -> None:
    """The library's DEBUG and INFO lines hold whole requests, passwords included: never below WARNING."""
    logger = logging.getLogger("asyncua")
    logger.setLevel(max(logger.level, logging.WARNING))


def _offer(endpoint: ua.EndpointDescription) -> Offer:
    policy = (endpoint.SecurityPolicyUri or "").rpartition("#")[2]
    return Offer(endpoint.SecurityMode.name, policy, _first_certificate(endpoint.ServerCertificate or b""))


def _first_certificate(chain: bytes) -> bytes:
    """The leading certificate of a DER chain; asyncua's own helper takes every length for two bytes long."""
    if not chain:
        return b""
    return _x509(chain).public_bytes(serialization.Encoding.DER)


def _x509(der: bytes) -> x509.Certificate:
    return cast("x509.Certificate", cast("Any", x509_from_der)(der))
