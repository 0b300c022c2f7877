"""The map of errors is complete over what paho and the system can say."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from adapters.errors import AdapterError, Misconfigured, NotConnected
from adapters.mqtt.errors import REASONS, by_reason, by_system

ENDING = {PacketTypes.CONNACK, PacketTypes.DISCONNECT, PacketTypes.SUBACK}
KNOWN = {
    code: name
    for code, names in ReasonCode.names.items()
    for name, packets in names.items()
    if (code >= 0x80 or code == 4) and ENDING & set(packets)
}


def test_every_reason_code_that_can_end_a_connection_is_mapped() -> None:
    assert set(KNOWN) <= set(REASONS)


@pytest.mark.parametrize("code", [*KNOWN, 0xFE])
def test_a_reason_becomes_an_error_with_a_remedy(code: int) -> None:
    error = by_reason("mqtts://broker", code, KNOWN.get(code, "?"))
    assert isinstance(error, NotConnected | Misconfigured)
    assert "mqtts://broker" in str(error)
    assert error.remedy


@pytest.mark.parametrize("code", [0x86, 0x87, 0x85, 0x84, 0x8E])
def test_what_only_a_person_can_change_is_misconfigured(code: int) -> None:
    assert isinstance(by_reason("u", code, "x"), Misconfigured)


def _verification() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_verification(), Misconfigured),
        (ssl.SSLError(1, "wrong version number"), Misconfigured),
        (ssl.SSLEOFError(8, "eof"), NotConnected),
        (ssl.SSLZeroReturnError(6, "closed"), NotConnected),
        (TimeoutError(), NotConnected),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), NotConnected),
        (ConnectionResetError(errno.ECONNRESET, "reset"), NotConnected),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), NotConnected),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), NotConnected),
    ],
)
def test_errors_of_the_system(error: OSError, kind: type[AdapterError]) -> None:
    mapped = by_system("mqtts://broker", error)
    assert type(mapped) is kind
    assert mapped.remedy
