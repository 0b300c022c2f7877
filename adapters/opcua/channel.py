"""A connection with a session, raw answers, and nothing automatic. With protocol.py and chunks.py the only one to touch asyncua's private names.

`Client.connect()` is not used: it starts a supervisor that reconnects behind our back. The steps are called one by one,
a new `Client` for every connection (an old one may hang, upstream issue 1660), and publish requests go past the library's
publish loop, which keeps one in flight and acknowledges what nobody has stored. tests/opcua/test_channel.py fails clearly
when a name that is used here is gone, and `asyncua==2.1.0` is pinned.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClientState, UASocketProtocol
from asyncua.common.utils import Buffer
from asyncua.crypto.uacrypto import x509_from_der
from asyncua.ua.ua_binary import nodeid_from_binary, nodeid_to_binary, struct_from_binary
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from adapters.opcua.credentials import Credentials as Credentials  # noqa: PLC0414 (named here too)
from adapters.opcua.credentials import Offer, library_policy, offer_of, token_policies, user_key
from adapters.opcua.errors import CONNECTING, FOREIGN, SIGNING_IN, doing
from adapters.opcua.protocol import LARGEST_MESSAGE, GuardedProtocol
from adapters.opcua.requests import publish_request

PINNED: Final = "2.1.0"
_CLOSING: Final = 1.5  # s for saying goodbye; the whole of leaving has adapters.base.GRACE
_SERVICE_FAULT: Final = 397  # NodeIds.csv: ServiceFault_Encoding_DefaultBinary
_PRODUCT: Final = "urn:shopfloor-collector"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class SessionSecret:
    """token: the AuthenticationToken as an encoded NodeId. nonce: the server's last one. Worth nothing without our key."""

    token: bytes = field(repr=False)
    nonce: bytes = field(repr=False)


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
        return _offers(found)

    async def open(self, credentials: Credentials, session_timeout: float) -> None:
        """Connect, with a new session. Closes everything again when it fails; raises what the library raises."""
        await self.connect(credentials, session_timeout)
        await self.sign_in(credentials)

    async def connect(self, credentials: Credentials, session_timeout: float) -> None:
        """A secure channel, and no session yet. Closes everything again when it fails."""
        _quiet()
        async with self._or_nothing(CONNECTING):
            self._introduce(credentials, session_timeout)
            await self._open_channel()

    async def sign_in(self, credentials: Credentials) -> None:
        """A new session on this channel; closed again, all of it, when that fails."""
        async with self._or_nothing(SIGNING_IN):
            result = await self._client.create_session()
            credentials.confirm(_offers(result.ServerEndpoints))
            self.server_certificate = _first_certificate(result.ServerCertificate or b"")
            await self._activate(credentials)

    async def revive(self, credentials: Credentials, session: SessionSecret, session_timeout: float) -> None:
        """Go on with a session that began on another channel (OPC 10000-4, 5.6.3): same certificate, same user.

        The server accepts it only with a signature over the last nonce that it gave (with security none there is nothing to
        sign). A refusal raises UaStatusCodeError and leaves the channel as it was: `sign_in` may follow.
        """
        client = self._client
        revived = False
        try:
            async with asyncio.timeout(3 * self._timeout):
                client._policy_ids = await self._user_policies(credentials)  # noqa: SLF001
                client._server_nonce = cast("Any", session.nonce or None)  # noqa: SLF001
                client.uaclient.session.restore_authentication_token(
                    nodeid_from_binary(Buffer(session.token))
                )
                await self._activate(credentials)
            revived = True
        finally:
            if not revived:
                client.uaclient.session.reset_authentication_token()
        client.session_timeout = int(session_timeout * 1000)
        self.server_certificate = credentials.server_certificate or b""

    async def end_session(self, session: SessionSecret) -> bool:
        """Have the server end a session that no channel has, and keep its subscriptions (OPC 10000-4, 5.6.4); many say no.

        Only on a channel without a session: a server may take the request for whichever session the channel has.
        """
        request: Any = ua.CloseSessionRequest(DeleteSubscriptions=False)
        held = self._client.uaclient.session
        held.restore_authentication_token(nodeid_from_binary(Buffer(session.token)))
        try:
            return not isinstance(await self.attempt(request, ua.CloseSessionResponse), int)
        finally:
            held.reset_authentication_token()

    async def _user_policies(self, credentials: Credentials) -> list[ua.UserTokenPolicy]:
        security, found = self._client.security_policy, await self._client.get_endpoints()
        credentials.confirm(_offers(found))
        return list(Client.find_endpoint(found, security.Mode, security.URI).UserIdentityTokens or ())

    async def _activate(self, credentials: Credentials) -> None:
        client = self._client
        # what the secured channel said, narrowed down to what we may and can do
        client._policy_ids = token_policies(client._policy_ids, credentials)  # noqa: SLF001
        certificate, client.user_private_key = user_key(credentials)
        await client.activate_session(credentials.username, credentials.password, certificate)
        self._token = bytes(nodeid_to_binary(self._client.uaclient.session.authentication_token))

    @asynccontextmanager
    async def _or_nothing(self, step: str) -> AsyncIterator[None]:
        """In time and complete, or closed."""
        done = False
        try:
            with doing(step):
                async with asyncio.timeout(3 * self._timeout):
                    yield
            done = True
        finally:
            if not done:
                await self.close()

    @property
    def secret(self) -> SessionSecret:
        """What `revive` needs on another channel."""
        nonce: Any = self._client._server_nonce  # noqa: SLF001
        return SessionSecret(self._token, bytes(nonce or b""))

    def _introduce(self, credentials: Credentials, session_timeout: float) -> None:
        client, own = self._client, credentials.own
        client.session_timeout = int(session_timeout * 1000)
        client.name = client.description = "Shop-floor collector"
        client.product_uri = _PRODUCT
        client.application_uri = own.application_uri if own else _PRODUCT
        if (policy := library_policy(credentials)) is not None:
            client.security_policy = policy
            client.uaclient.set_security(policy)

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

    async def attempt(self, request: Any, answer: type[Answer]) -> Answer | int:
        """One service call that may be refused without anybody being to blame: the answer, or the fault's status code."""
        body = Buffer(await self.attempt_raw(request))
        if nodeid_from_binary(body.copy()).Identifier != _SERVICE_FAULT:
            response = struct_from_binary(answer, body)
            result = cast("Any", response).ResponseHeader.ServiceResult
            return response if result.is_good() else int(result.value)
        fault = struct_from_binary(ua.ServiceFault, body)
        return int(fault.ResponseHeader.ServiceResult.value)

    async def attempt_raw(self, request: Any) -> bytes:
        """The answer as it came, a service fault included."""
        return await self._open_protocol().ask(request)

    def publish(self, subscription: int, acknowledge: Iterable[int]) -> asyncio.Future[Any]:
        """Send a PublishRequest now. The future brings the answer (`bytes` of it are the body), a service fault included."""
        return self._open_protocol().send_encoded(publish_request(self._token, subscription, acknowledge))

    async def close(self, keep: bool = False, delete: bool = True) -> None:
        """Say goodbye if somebody listens, and release the socket in any case. Never raises for a lost connection.

        keep: only the channel ends; the session waits for its time-out, or for us. delete: a session's subscriptions end with it.
        """
        client, protocol = self._client, self._protocol
        if protocol is None:
            return
        try:
            async with asyncio.timeout(_CLOSING):
                client.uaclient.request_disconnect()
                if client.uaclient.state in (UaClientState.CHANNEL_OPEN, UaClientState.CONNECTED):
                    if not keep:
                        await client.uaclient.close_session(delete_subscriptions=delete)
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
    """The library's DEBUG and INFO lines hold whole requests, passwords included: never below WARNING, none of its loggers."""
    known = [name for name in logging.root.manager.loggerDict if name.startswith("asyncua.")]
    for logger in map(logging.getLogger, ("asyncua", *known)):
        if logger.name == "asyncua" or logger.level:
            logger.setLevel(max(logger.level, logging.WARNING))


def _offers(endpoints: Sequence[ua.EndpointDescription] | None) -> list[Offer]:
    """Those over opc.tcp."""
    return [
        offer_of(endpoint, tuple(_chain(endpoint.ServerCertificate or b"")))
        for endpoint in endpoints or ()
        if (endpoint.EndpointUrl or "").startswith("opc.tcp")
    ]


def _chain(chain: bytes) -> Iterator[x509.Certificate]:
    """A server's certificate and those of its issuers, one DER behind the other, as far as they can be read."""
    with suppress(ValueError):
        while chain:
            first = _x509(chain)
            yield first
            chain = chain[len(first.public_bytes(serialization.Encoding.DER)) :]


def _first_certificate(chain: bytes) -> bytes:
    """The leading certificate of a DER chain; asyncua's own helper takes every length for two bytes long."""
    if not chain:
        return b""
    return _x509(chain).public_bytes(serialization.Encoding.DER)


def _x509(der: bytes) -> x509.Certificate:
    return cast("x509.Certificate", cast("Any", x509_from_der)(der))
