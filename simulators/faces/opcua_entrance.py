"""Who gets into a simulated OPC UA server, and as whom: endpoints, users, clients' certificates.

What the library's server leaves open is closed here (decisions/0007): over a channel without security it lets a session begin
though no such endpoint is offered, and a client that hides its certificate in CreateSession meets no validator. So clients
are judged where real servers do it, when they open the channel.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.crypto.security_policies import CryptographyNone, SecurityPolicyFactory, SecurityPolicyNone
from asyncua.crypto.uacrypto import x509_from_der
from asyncua.server.server import Server
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from simulators.errors import SimulatorError
from simulators.faces.opcua_identity import Identity
from simulators.faces.opcua_security import Account, Security

MOST_REJECTED: Final = 100
# OPC UA Part 6, A.2: BadCertificateInvalid, BadSecurityChecksFailed (Part 4, 6.1.3: what a stranger is told),
# BadCertificateTimeInvalid, BadSecurityPolicyRejected.
UNREADABLE: Final = 0x80120000
STRANGER: Final = 0x80130000
RUN_OUT: Final = 0x80140000
NOT_SO: Final = 0x80550000
POLICIES: Final = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
MODES: Final = {"sign": "Sign", "encrypt": "SignAndEncrypt"}


@dataclass
class Person(User):
    """Whoever has a session. name: empty for who came in without one. operator: may write what can be written."""

    operator: bool = False


class Doorkeeper:
    """The library's user manager. Never gives its role Admin, which may add nodes and passes every check of access."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._accounts = {account.name: account for account in accounts}

    def get_user(
        self, _server: Any, username: str | None = None, password: Any = None, certificate: Any = None
    ) -> Person | None:
        """None: refused. Without accounts everybody is an operator, as at a machine that has none."""
        if username is None:
            return Person(UserRole.User, "", operator=not self._accounts)
        account = self._accounts.get(username)
        given = password if isinstance(password, bytes) else str(password or "").encode()
        right = account is not None and hmac.compare_digest(account.password.encode(), given)
        return Person(UserRole.User, username, account.operator) if account is not None and right else None


class TrustList:
    """The clients that are let in: their certificates, or their authorities', lie in the folder as DER or PEM.

    Read at every connection, so that a certificate moved from `rejected` is trusted at once, as with real servers.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rejected = folder / "rejected"

    def prepare(self) -> None:
        """The folders; SimulatorError where they cannot be."""
        try:
            self.rejected.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SimulatorError(f"{self.rejected}: cannot be made ({error.strerror or error}).") from error

    def refusal(self, shown: bytes | None) -> int:
        """The status code for who shows this certificate; 0: welcome. Strangers' certificates are laid aside."""
        try:
            certificate: x509.Certificate | None = x509_from_der(shown)  # type: ignore[no-untyped-call]
        except ValueError:
            return UNREADABLE
        if certificate is None:
            return STRANGER
        if not any(_vouches(one, certificate) for one in self._trusted()):
            self._lay_aside(certificate)
            return STRANGER
        now = datetime.now(UTC)
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            return RUN_OUT
        return 0

    def _trusted(self) -> Sequence[x509.Certificate]:
        files = [file for file in self.folder.iterdir() if file.is_file()] if self.folder.is_dir() else []
        return [one for file in files for one in _certificates(file)]

    def _lay_aside(self, certificate: x509.Certificate) -> None:
        der = certificate.public_bytes(Encoding.DER)
        file = self.rejected / f"{_label(certificate)}-{hashlib.sha1(der).hexdigest()}.der"  # noqa: S324 - a name
        if not file.exists() and sum(1 for _ in self.rejected.iterdir()) < MOST_REJECTED:
            file.write_bytes(der)


def _vouches(trusted: x509.Certificate, shown: x509.Certificate) -> bool:
    """It is the same, or an authority that signed it."""
    if trusted == shown:
        return True
    try:
        if not trusted.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        shown.verify_directly_issued_by(trusted)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _certificates(file: Path) -> Sequence[x509.Certificate]:
    """What cannot be read is nobody's."""
    try:
        data = file.read_bytes()
        pem = data.startswith(b"-----BEGIN")
        return x509.load_pem_x509_certificates(data) if pem else [x509.load_der_x509_certificate(data)]
    except (OSError, ValueError):
        return []


def _label(certificate: x509.Certificate) -> str:
    said = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    name = str(said[0].value) if said else "client"
    return re.sub(r"[^A-Za-z0-9._@-]", "_", name)[:64].lstrip(".") or "client"


@dataclass(frozen=True, slots=True)
class Entrance:
    """How one server lets clients in. identity: None where nothing but the endpoint without security is offered."""

    security: Security
    identity: Identity | None = None
    trust: TrustList | None = None

    def prepare(self, server: Server) -> None:
        """Before the start: certificate, endpoints, who may sign in and how."""
        if self.identity is not None:
            server.iserver.certificate, server.iserver.private_key = (
                self.identity.certificate,
                self.identity.key,
            )
        server.set_security_policy(list(policies(self.security.offered)))
        server.iserver.set_user_manager(Doorkeeper(self.security.accounts))  # type: ignore[arg-type]
        tokens: list[type] = [ua.AnonymousIdentityToken] if self.security.anonymous else []
        server.set_identity_tokens([*tokens, ua.UserNameIdentityToken] if self.security.accounts else tokens)

    def guarded(self, doors: Sequence[SecurityPolicyFactory]) -> list[SecurityPolicyFactory]:
        """The doors that the library has made, each with its guard."""
        if self.trust is not None:
            doors = [door if door.cls is SecurityPolicyNone else _Guarded(door, self.trust) for door in doors]
        if "none" in self.security.offered:
            return list(doors)
        plain = ua.MessageSecurityMode.None_
        return [*doors, _OnlyDiscovery(SecurityPolicyNone, plain)]  # type: ignore[no-untyped-call]


OPEN: Final = Entrance(Security(offers=("none",)))
"""For servers that are about something else."""


def policies(offered: Sequence[str]) -> Sequence[ua.SecurityPolicyType]:
    """The library's names for what is offered; encryption first, since it takes the first for the password of a plain channel."""
    secure = [
        ua.SecurityPolicyType[f"{policy}_{MODES[mode]}"]
        for mode in ("encrypt", "sign")
        if mode in offered
        for policy in POLICIES
    ]
    return [*secure, ua.SecurityPolicyType.NoSecurity] if "none" in offered else secure


class _Guarded(SecurityPolicyFactory):
    """A door for clients that are trusted. The error is the only one of the handshake that the library answers with a
    message (OPC 10000-6, 7.1.2.5) instead of silence.
    """

    def __init__(self, door: SecurityPolicyFactory, trust: TrustList) -> None:
        super().__init__(door.cls, door.mode, door.certificate, door.private_key, door.permission_ruleset)  # type: ignore[no-untyped-call]
        self._trust = trust

    def create(self, peer_certificate: bytes | None) -> Any:
        if code := self._trust.refusal(peer_certificate):
            error = ua.uaerrors.BadRequestTooLarge()  # type: ignore[no-untyped-call]
            error.code = code
            raise error
        return super().create(peer_certificate)  # type: ignore[no-untyped-call]


class _OnlyDiscovery(SecurityPolicyFactory):
    """A channel without security where no such endpoint is offered: one may ask for the endpoints, and no session begins."""

    def create(self, peer_certificate: bytes | None) -> Any:
        policy = super().create(None)  # type: ignore[no-untyped-call]
        policy.asymmetric_cryptography = _NoSession()  # type: ignore[no-untyped-call]
        return policy


class _NoSession(CryptographyNone):
    """Asked to verify only when a session is to be activated: without a signature there is no other question."""

    def verify(self, data: bytes, signature: bytes) -> None:
        raise ServiceError(NOT_SO)


class SimServer(Server):
    """The library's server with guarded doors."""

    entrance: Entrance | None = None

    async def _setup_server_nodes(self) -> None:
        await super()._setup_server_nodes()
        if self.entrance is not None:
            self._policies[:] = self.entrance.guarded(self._policies)
