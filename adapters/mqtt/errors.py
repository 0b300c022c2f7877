"""Every word of paho, the operating system and TLS for a failed connection, as one of the errors at the border.

The tables are complete by test (tests/mqtt/test_errors.py): a reason code that a new paho knows and we do not fails it.
Codes: MQTT 5, 2.4; paho turns the six return codes of MQTT 3.1.1 (3.2.2.3) into the same ones.
"""

from __future__ import annotations

import ssl

from adapters.errors import AdapterError, Misconfigured, NotConnected

CREDENTIALS = "Check username and password, and that the broker knows them."
_CLIENT_ID = "Give another client_id; every collector at a broker needs its own."
_LATER = "Nothing to do here: the collector tries again."
_RATE = "Raise the broker's limits for this client, or lower what is published to it."
_SIZE = "Set max_packet to what the broker allows, or raise it there."
_ADDRESS = "The broker names another address: change url to it."
_VERSION = "Set version to what the broker speaks (3.1.1 or 5), or leave it out."
_BROKER = "See the broker's log for the reason."
_FILTERS = "The broker lacks a feature that a topic needs: see the topics and the broker's settings."

REASONS: dict[int, tuple[type[NotConnected | Misconfigured], str]] = {
    0x04: (NotConnected, _LATER),
    0x80: (NotConnected, _BROKER),
    0x81: (NotConnected, _BROKER),
    0x82: (NotConnected, _BROKER),
    0x83: (NotConnected, _BROKER),
    0x84: (Misconfigured, _VERSION),
    0x85: (Misconfigured, _CLIENT_ID),
    0x86: (Misconfigured, CREDENTIALS),
    0x87: (Misconfigured, CREDENTIALS),
    0x88: (NotConnected, _LATER),
    0x89: (NotConnected, _LATER),
    0x8A: (Misconfigured, "The broker has banned this client: ask who runs it."),
    0x8B: (NotConnected, _LATER),
    0x8C: (
        Misconfigured,
        "The broker wants a way of authentication that is not supported; allow username and password.",
    ),
    0x8D: (NotConnected, "The network or this computer was too slow for keep_alive: raise it."),
    0x8E: (Misconfigured, _CLIENT_ID),
    0x8F: (Misconfigured, _FILTERS),
    0x90: (Misconfigured, _FILTERS),
    0x91: (NotConnected, _BROKER),
    0x92: (NotConnected, _BROKER),
    0x93: (NotConnected, "Lower receive_maximum."),
    0x94: (NotConnected, _BROKER),
    0x95: (Misconfigured, _SIZE),
    0x96: (NotConnected, _RATE),
    0x97: (NotConnected, _RATE),
    0x98: (NotConnected, "Somebody closed this connection at the broker; the collector tries again."),
    0x99: (NotConnected, _BROKER),
    0x9A: (Misconfigured, _FILTERS),
    0x9B: (Misconfigured, "The broker does not grant the QoS of a topic: set its qos to 0."),
    0x9C: (Misconfigured, _ADDRESS),
    0x9D: (Misconfigured, _ADDRESS),
    0x9E: (Misconfigured, _FILTERS),
    0x9F: (NotConnected, _LATER),
    0xA0: (NotConnected, _LATER),
    0xA1: (Misconfigured, _FILTERS),
    0xA2: (Misconfigured, _FILTERS),
}


def by_reason(url: str, code: int, name: str, doing: str = "refused the connection") -> AdapterError:
    """What a CONNACK or DISCONNECT with this reason code means."""
    kind, remedy = REASONS.get(code, (NotConnected, _BROKER))
    return kind(f"{url} {doing}: {name} (0x{code:02x})", remedy)


def by_system(url: str, error: OSError) -> AdapterError:
    """What the operating system or TLS means (ssl.SSLError is an OSError)."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Misconfigured(
            f"{url}: the broker's certificate is not accepted: {error.verify_message}",
            "Set ca to the authority that signed it, and use the host name that stands in it; never switch the check off.",
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return NotConnected(
            f"{url}: the connection ended during encryption", "Is this the broker's TLS port?"
        )
    if isinstance(error, ssl.SSLError):
        return Misconfigured(f"{url}: no encrypted connection: {_said(error)}", _tls_remedy(error))
    if isinstance(error, TimeoutError):
        return NotConnected(f"{url} does not answer", "Check the address, the network and the firewall.")
    if isinstance(error, ConnectionRefusedError):
        return NotConnected(f"{url}: nobody listens there", "Is the broker running, and is the port right?")
    return NotConnected(f"{url}: {error.strerror or error}", "Check the address, the network and the broker.")


def _said(error: ssl.SSLError) -> str:
    """OpenSSL's own word; errors that did not come from it have none."""
    return getattr(error, "reason", None) or str(error)


def _tls_remedy(error: ssl.SSLError) -> str:
    if _said(error) in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return "The port answers without encryption: use the broker's TLS port (8883), or mqtt:// by choice."
    return "See the broker's log; a client certificate may be missing (certificate, private_key) or not accepted."


def files(error: OSError | ssl.SSLError, what: str) -> Misconfigured:
    """A certificate or key file that cannot be used."""
    return Misconfigured(
        f"{what} cannot be read: {error.strerror or error}", "Check the file's path, rights and format (PEM)."
    )
