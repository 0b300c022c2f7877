"""How we introduce ourselves, and what a server says that it offers: plain data, and its meaning in the library's words.

Secrets are here and nowhere else on the way to the wire; none of them is in a `repr`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from asyncua import ua
from asyncua.crypto import security_policies as library
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from adapters.errors import Misconfigured
from adapters.opcua.certificate import OwnCertificate
from adapters.opcua.validator import spaced
from adapters.opcua.validator_chain import fingerprint

POLICIES: Final[dict[str, Any]] = {
    "Aes256_Sha256_RsaPss": library.SecurityPolicyAes256Sha256RsaPss,
    "Basic256Sha256": library.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": library.SecurityPolicyAes128Sha256RsaOaep,
    "Basic256": library.SecurityPolicyBasic256,
    "Basic128Rsa15": library.SecurityPolicyBasic128Rsa15,
}
"""By the last part of the policy's URI (OPC 10000-7), the strongest first."""

STRONG: Final = ("Aes256_Sha256_RsaPss", "Basic256Sha256", "Aes128_Sha256_RsaOaep")
"""What `policy: auto` chooses from. The others were withdrawn by the OPC Foundation: only by name."""

_KINDS: Final = {
    ua.UserTokenType.Anonymous: "anonymous",
    ua.UserTokenType.UserName: "user name",
    ua.UserTokenType.Certificate: "certificate",
    ua.UserTokenType.IssuedToken: "issued token",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """One endpoint of a server, as it says itself and nobody has proven yet. chain: its certificate, then its issuers."""

    mode: str  # None_, Sign, SignAndEncrypt
    policy: str  # the last part of the policy's URI, such as Basic256Sha256
    certificate: bytes  # DER, of the server alone; empty when there is none
    chain: tuple[x509.Certificate, ...] = field(default=(), repr=False)
    application_uri: str = ""
    url: str = ""
    tokens: tuple[str, ...] = ()  # how one may sign in: anonymous, user name, certificate

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.chain[0]) if self.chain else ""

    @property
    def words(self) -> str:
        return f"{self.mode.rstrip('_')} {self.policy}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """own and server_certificate (DER) are None for a connection without security. user: certificate and key of the user.

    confirm: is given the endpoints that the server names on the secured channel, before anybody signs in; it raises when
    they are not what the choice was made from.
    """

    own: OwnCertificate | None = None
    server_certificate: bytes | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    user: OwnCertificate | None = field(default=None, repr=False)
    policy: str = "Basic256Sha256"
    mode: str = "SignAndEncrypt"
    confirm: Callable[[Sequence[Offer]], None] = field(default=lambda _offers: None, repr=False)

    @property
    def token(self) -> ua.UserTokenType:
        if self.user is not None:
            return ua.UserTokenType.Certificate
        return ua.UserTokenType.UserName if self.username else ua.UserTokenType.Anonymous

    @property
    def words(self) -> str:
        """For people: security and who signs in."""
        who = f"user {self.username}" if self.username else "anonymous"
        if self.user is not None:
            who = f"user certificate {spaced(fingerprint(x509.load_der_x509_certificate(self.user.certificate)))[:11]}…"
        return f"none, {who}" if self.own is None else f"{self.mode} {self.policy}, {who}"


def offer_of(endpoint: ua.EndpointDescription, chain: tuple[x509.Certificate, ...]) -> Offer:
    """chain: what the endpoint's ServerCertificate holds."""
    return Offer(
        endpoint.SecurityMode.name,
        (endpoint.SecurityPolicyUri or "").rpartition("#")[2],
        chain[0].public_bytes(serialization.Encoding.DER) if chain else b"",
        chain,
        endpoint.Server.ApplicationUri or "",
        endpoint.EndpointUrl or "",
        tuple(dict.fromkeys(_KINDS[token.TokenType] for token in endpoint.UserIdentityTokens or ())),
    )


def library_policy(credentials: Credentials) -> Any:
    """The library's security policy object for a secured channel; None where there is none."""
    own, server = credentials.own, credentials.server_certificate
    if own is None or server is None:
        return None
    return POLICIES[credentials.policy](
        x509.load_der_x509_certificate(server),
        x509.load_der_x509_certificate(own.certificate),
        cast("Any", serialization.load_der_private_key(own.key, None)),
        ua.MessageSecurityMode[credentials.mode],
    )


def user_key(credentials: Credentials) -> tuple[Any, Any]:
    """Certificate and key of the user, as the library wants them; None where a certificate does not sign in."""
    if credentials.user is None:
        return None, None
    return (
        x509.load_der_x509_certificate(credentials.user.certificate),
        serialization.load_der_private_key(credentials.user.key, None),
    )


def token_policies(
    offered: Sequence[ua.UserTokenPolicy], credentials: Credentials
) -> list[ua.UserTokenPolicy]:
    """The ways to sign in that we can and may go, of those that the server names on the secured channel.

    A server that names none is tried with its channel's own security (some forget the list). Raises Misconfigured.
    """
    wanted = credentials.token
    encrypted = credentials.own is not None and credentials.mode == "SignAndEncrypt"
    if credentials.own is None and credentials.user is not None:
        raise Misconfigured("nobody signs in over an unprotected connection", "remove `security: none`")
    if credentials.password is not None and not encrypted:
        raise Misconfigured(
            "no password goes over an unencrypted connection", "use `security: sign_and_encrypt`"
        )
    if not offered:
        return []
    found = [token for token in offered if token.TokenType == wanted and _can(token)]
    if not found:
        ways = ", ".join(dict.fromkeys(_KINDS[token.TokenType] for token in offered))
        raise Misconfigured(
            f"the machine lets nobody sign in by {_KINDS[wanted]} at this endpoint; it offers: {ways}",
            "give what it offers (username and password, or user_certificate and user_key), "
            "or switch this kind of sign-in on in the machine's OPC UA settings",
        )
    return found


def _can(token: ua.UserTokenPolicy) -> bool:
    """Whether its encryption is known here; an empty one is the channel's."""
    uri = token.SecurityPolicyUri
    return not uri or uri.endswith("#None") or any(uri == policy.URI for policy in POLICIES.values())
