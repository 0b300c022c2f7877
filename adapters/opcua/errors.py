"""What OPC UA servers, the library and the operating system say, as one of our two errors, with what to do about it.

`Misconfigured` where somebody must change something, at our end or the machine's; `NotConnected` for all the rest, the
unknown included: trying again later is never wrong, and the message keeps the server's own words.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from asyncua import ua
from asyncua.crypto.uacrypto import InvalidSignature as LibrarySignature  # type: ignore[attr-defined]
from asyncua.ua.uaerrors import UaError, UaStatusCodeError
from cryptography.exceptions import InvalidSignature

from adapters.errors import AdapterError, Misconfigured, NotConnected
from adapters.opcua.values import Malformed

_TRUST: Final = "accept the collector's certificate (pki/own/collector.der in its state folder) in the list of trusted clients of the machine"
_LOGIN: Final = "check username and password, and that this user may sign in over OPC UA"
_RENEW: Final = "the machine's certificate has to be renewed or replaced there; then pin the new fingerprint"
_CLOCK: Final = "check the clocks of both computers, and renew the certificate that has run out"
_POLICY: Final = "the server does not offer SignAndEncrypt with Basic256Sha256: switch it on there, or choose `security: none` by name"
_BETWEEN: Final = "find out who answers at this address. No password was sent"
_RIGHT: Final = "this user may sign in, and not do this: grant the right in the machine's user administration, or use another user"
_SLOW: Final = "the machine answers too slowly: see whether it is overloaded; if it stays so, a longer `request_timeout` gives it time"
_CLOSED: Final = ("connection is closed", "connection is not open", "the connection is closed")
_URL: Final = "check the address (url) against the endpoint that the machine's settings show"

REMEDIES: Final[dict[str, str]] = {
    "BadUserAccessDenied": _LOGIN,
    "BadIdentityTokenInvalid": _LOGIN,
    "BadIdentityTokenRejected": _LOGIN,
    "BadUserSignatureInvalid": _LOGIN,
    "BadIdentityChangeNotSupported": _LOGIN,
    "BadSecurityChecksFailed": _TRUST,
    "BadCertificateUntrusted": _TRUST,
    "BadCertificateInvalid": _TRUST,
    "BadCertificateUseNotAllowed": _TRUST,
    "BadCertificateUriInvalid": _TRUST,
    "BadApplicationSignatureInvalid": _TRUST,
    "BadNoValidCertificates": _TRUST,
    "BadCertificateTimeInvalid": _CLOCK,
    "BadCertificateIssuerTimeInvalid": _CLOCK,
    "BadCertificateHostNameInvalid": _RENEW,
    "BadCertificateRevoked": _RENEW,
    "BadCertificateIssuerRevoked": _RENEW,
    "BadCertificateChainIncomplete": _RENEW,
    "BadCertificateIssuerUseNotAllowed": _RENEW,
    "BadCertificateRevocationUnknown": _RENEW,
    "BadCertificateIssuerRevocationUnknown": _RENEW,
    "BadCertificatePolicyCheckFailed": _POLICY,
    "BadSecurityPolicyRejected": _POLICY,
    "BadSecurityModeRejected": _POLICY,
    "BadSecurityModeInsufficient": _POLICY,
    "BadTcpEndpointUrlInvalid": _URL,
    "BadServerUriInvalid": _URL,
    "BadLicenseExpired": "the OPC UA licence of the machine has run out",
    "BadLicenseNotAvailable": "the machine has no licence for OPC UA",
    "BadLicenseLimitsExceeded": "the OPC UA licence of the machine allows no more clients or items",
}
"""Status codes (OPC 10000-4, 7.39.2) that do not go away by waiting, with what to do."""

CROWDED: Final[dict[str, str]] = {
    "BadTooManySessions": "the places are taken by other clients, or by sessions that ended without a goodbye (one of this "
    "collector's may be among them): those end by themselves after their time-out, a minute as this collector asks for it "
    "(session_timeout), and it is tried again until then. If it stays so: close other clients (an open browser of "
    "the machine's data is one), or allow more sessions in the machine's OPC UA settings",
    "BadTooManySubscriptions": "subscriptions that clients left behind end by themselves after their life-time, 20 minutes as "
    "this collector asks for it, and it is tried again until then. If it stays so: close other clients, or allow more "
    "subscriptions in the machine's OPC UA settings",
}
"""Status codes that do go away by waiting, with whom to wait for."""

FOREIGN: Final = (
    UaError,
    OSError,
    EOFError,
    Malformed,
    LibrarySignature,
    InvalidSignature,
    struct.error,
    ValueError,
)
"""Everything that the library or the system raises on purpose or on hostile bytes; anything else is a fault of ours."""


CONNECTING: Final = ""
SIGNING_IN: Final = "signing in"
"""The steps at which a refusal is about who comes, and not about what he wants. Of the first one the words speak for themselves."""


def name_of(error: BaseException) -> str:
    """The name of a status code, or the kind of error."""
    return type(error).__name__


def to_border(error: BaseException, where: str) -> AdapterError:
    """The error at the border for whatever happened while talking to `where` (the url)."""
    if isinstance(error, AdapterError):
        return error
    name, step = name_of(error), next(iter(getattr(error, "__notes__", ())), "")
    said = f"{where}: {name}{_while(step)}: {_words(error)}"
    if name in REMEDIES:
        denied = name == "BadUserAccessDenied" and step not in (CONNECTING, SIGNING_IN)
        return Misconfigured(said, _RIGHT if denied else REMEDIES[name])
    if name in CROWDED:
        return NotConnected(said, CROWDED[name])
    if isinstance(error, UaError) and "No matching endpoints" in str(error):
        return Misconfigured(f"{where}: {error}", _POLICY)
    if isinstance(error, UaError) and "Server certificate mismatch" in str(error):
        other = "the certificate of the session is not the one of the endpoint: somebody may stand in between"
        return Misconfigured(f"{where}: {other}", _BETWEEN)
    if isinstance(error, LibrarySignature | InvalidSignature):
        return Misconfigured(f"{where}: the server cannot prove that its certificate is its own", _RENEW)
    if isinstance(error, OSError):
        return _of_system(error, where, step)
    if type(error) in (
        UnicodeError,
        UnicodeEncodeError,
    ):  # of the name of the host: text that comes in is decoded
        return NotConnected(f"{where}: the name of the host cannot be a name", _URL)
    return NotConnected(said)


def _of_system(error: OSError, where: str, step: str) -> NotConnected:
    if isinstance(error, TimeoutError):
        remedy = _SLOW if step else "check that the machine is on and reachable"
        return NotConnected(f"{where}: no answer in time{_while(step)}", remedy)
    if isinstance(error, ConnectionRefusedError):
        return NotConnected(f"{where}: connection refused", "check that the OPC UA server runs, and its port")
    closed = str(error).casefold() in _CLOSED
    words = "the connection was lost" if closed else error.strerror or str(error)
    return NotConnected(f"{where}: {words}{_while(step)}", "check the network and the address")


def _while(step: str) -> str:
    return f" while {step}" if step else ""


def status_error(code: int) -> UaError:
    """The library's error for a status code."""
    make: Any = UaStatusCodeError
    error: UaError = make(code)
    return error


def from_status(code: int, where: str) -> AdapterError:
    """The error at the border for a bad status code in an answer."""
    return to_border(status_error(code), where)


def status_name(code: int) -> str:
    """Such as BadNodeIdUnknown; unknown codes as hexadecimal."""
    known = ua.status_codes.code_to_name_doc.get(code & 0xFFFF0000)
    return known[0] if known else f"0x{code:08X}"


@contextmanager
def doing(step: str) -> Iterator[None]:
    """What fails in this block is told as having failed while doing this; the innermost step counts."""
    try:
        yield
    except FOREIGN as error:
        error.add_note(step)
        raise


@contextmanager
def crossing(where: str) -> Iterator[None]:
    """Nothing but our errors leaves this block, and faults of our own."""
    try:
        yield
    except FOREIGN as error:
        raise to_border(error, where) from error
    except (TypeError, IndexError) as error:
        if not _of_the_library(error):
            raise
        raise NotConnected(f"{where}: an answer that breaks the encoding ({_words(error)})") from error


def _of_the_library(error: BaseException) -> bool:
    """Whether it was raised in asyncua itself, as its decoder does where an answer is cut short."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("asyncua.")


def _words(error: BaseException) -> str:
    """Without the name, which stands before it already."""
    said = str(error).strip().removesuffix(f"({name_of(error)})").rstrip(".")
    return said or "no more is known"
