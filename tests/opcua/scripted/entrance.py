"""Where clients come in: what is offered, who is let in, and proofs of identity (OPC 10000-4, 5.5 and 5.7)."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tests.opcua import encoder as enc
from tests.opcua.scripted import codes
from tests.opcua.scripted.codec import secure
from tests.opcua.scripted.codec.chunks import BASIC_URI, NONE_URI
from tests.opcua.scripted.codec.secure import SIGNATURE_URI, Identity
from tests.opcua.scripted.codec.services import Asked, answer, fault
from tests.opcua.scripted.codec.wire import Reader, node_bytes, several, text
from tests.opcua.scripted.machine import Machine

if TYPE_CHECKING:
    from tests.opcua.scripted.server import Connection

_TRANSPORT = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary"
NONE, SIGN, SIGN_AND_ENCRYPT = 1, 2, 3
ANONYMOUS, USERNAME = 0, 1


@dataclass(frozen=True)
class Offer:
    """One endpoint as it is advertised, true or not. certificate: other than the server's own."""

    mode: int = NONE
    policy: str = NONE_URI
    certificate: bytes | None = None
    url: str | None = None
    token_policy: str | None = None  # for the password, if other than the channel's
    tokens: Sequence[int] = (ANONYMOUS, USERNAME)


@dataclass
class Entrance:
    """offers: what GetEndpoints and CreateSession list; hidden: what CreateSession lists if it differs (a man in between).

    users: name -> password; None lets everybody in. signs: with which key the proof of CreateSession is made.
    """

    machine: Machine
    url: str = ""
    identity: Identity | None = None
    offers: list[Offer] = field(default_factory=list)
    hidden: list[Offer] | None = None
    users: dict[str, str] | None = None
    application_uri: str | None = None  # other than that of the address space
    peers: list[tuple[str, str]] = field(default_factory=list)  # (ApplicationUri, url) that FindServers adds

    def serve(self, connection: Connection, asked: Asked) -> bytes | None:
        if asked.name == "GetEndpoints":
            return answer(asked, several([self._endpoint(offer) for offer in self._offered()]))
        if asked.name == "FindServers":
            return answer(
                asked, several([self._application(uri, url) for uri, url in [self._self(), *self.peers]])
            )
        if asked.name == "CreateSession":
            return self._create(connection, asked)
        return self._activate(connection, asked) if asked.name == "ActivateSession" else None

    def _self(self) -> tuple[str, str]:
        return self.application_uri or self.machine.space.application_uri, self.url

    def _offered(self) -> list[Offer]:
        if self.offers:
            return self.offers
        return (
            [Offer()]
            if self.identity is None
            else [Offer(SIGN_AND_ENCRYPT, BASIC_URI), Offer(SIGN, BASIC_URI)]
        )

    def _application(self, uri: str, url: str) -> bytes:
        """An ApplicationDescription (7.2); the server is an application of type 0."""
        names = enc.string(uri) + enc.string("urn:test:product") + text("Scripted")
        return names + struct.pack("<I", 0) + enc.string(None) + enc.string(None) + several([enc.string(url)])

    def _endpoint(self, offer: Offer) -> bytes:
        certificate = offer.certificate or (self.identity.certificate if self.identity else None)
        tokens = [self._token(kind, offer) for kind in offer.tokens]
        return (
            enc.string(offer.url or self.url)
            + self._application(*self._self())
            + enc.octets(certificate)
            + struct.pack("<I", offer.mode)
            + enc.string(offer.policy)
            + several(tokens)
            + enc.string(_TRANSPORT)
            + bytes([offer.mode])
        )

    def _token(self, kind: int, offer: Offer) -> bytes:
        name = ("anonymous", "username")[kind]
        policy = offer.token_policy if kind == USERNAME else None
        return enc.string(name) + struct.pack("<I", kind) + enc.string(None) * 2 + enc.string(policy)

    def _create(self, connection: Connection, asked: Asked) -> bytes:
        policy = self.machine.policy
        if len(self.machine.sessions) >= policy.sessions:
            return fault(asked, codes.TOO_MANY_SESSIONS)
        timeout = min(asked["timeout"] / 1000, policy.session_timeout or asked["timeout"] / 1000)
        session = self.machine.open_session(connection, timeout)
        listed = self._offered() if self.hidden is None else self.hidden
        body = (
            node_bytes(session.id)
            + node_bytes(session.token)
            + struct.pack("<d", timeout * 1000)
            + enc.octets(session.nonce)
            + enc.octets(self.identity.certificate if self.identity else None)
            + several([self._endpoint(offer) for offer in listed])
            + enc.octets(None)
            + self._proof(connection, asked)
            + struct.pack("<I", 0)
        )
        return answer(asked, body)

    def _proof(self, connection: Connection, asked: Asked) -> bytes:
        """SignatureData over the client's certificate and nonce (5.7.2)."""
        if self.identity is None or connection.channel.policy == NONE_URI:
            return enc.string(None) + enc.octets(None)
        signed = secure.leaf(asked["certificate"] or b"0\0") + (asked["nonce"] or b"")
        return enc.string(SIGNATURE_URI) + enc.octets(secure.sign(self.identity.key, signed))

    def _activate(self, connection: Connection, asked: Asked) -> bytes:
        session = self.machine.sessions.get(asked.token)
        if session is None:
            return fault(asked, codes.SESSION_ID_INVALID)
        if session.active and not self.machine.policy.reactivate:
            return fault(asked, self.machine.policy.reactivate_refusal)
        if not self._proven(connection, asked, session.nonce):
            return fault(asked, codes.SECURITY_CHECKS_FAILED)
        if not self._known(asked, session.nonce):
            return fault(asked, codes.USER_ACCESS_DENIED)
        if session.connection is not connection:
            session.waiting.clear()
        session.connection, session.active = connection, True
        session.heard = self.machine.clock.monotonic()
        session.nonce = os.urandom(32)  # each one serves once (5.7.3.2)
        return answer(asked, enc.octets(session.nonce) + struct.pack("<ii", -1, -1))

    def _proven(self, connection: Connection, asked: Asked, nonce: bytes) -> bool:
        """The client holds the key of its certificate: it signed ours and the nonce."""
        if self.identity is None or connection.channel.client is None:
            return True
        _, signature = asked["signature"]
        data = secure.leaf(self.identity.certificate) + nonce
        whole = self.identity.certificate + nonce
        key = secure.public_key(connection.channel.client)
        return any(_fits(key, signature, signed) for signed in (data, whole))

    def _known(self, asked: Asked, nonce: bytes) -> bool:
        type_id, body = asked["identity"]
        if type_id.identifier != 324:
            self.machine.record.users.append((None, None))
            return self.users is None or not self.users
        reader = Reader(body)
        reader.string()
        name, password, algorithm = reader.string(), reader.octets(), reader.string()
        if algorithm and password and self.identity is not None:
            clear = secure.decrypt(self.identity.key, password)
            (length,) = struct.unpack_from("<I", clear)
            password = clear[4 : 4 + length].removesuffix(nonce)
        self.machine.record.users.append((name, password))
        return self.users is None or self.users.get(name or "", "").encode() == password


def _fits(key: RSAPublicKey, signature: bytes, data: bytes) -> bool:
    try:
        secure.verify(key, signature, data)
    except InvalidSignature:
        return False
    return True
