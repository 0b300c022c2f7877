"""The map of errors is complete: whatever the library can raise becomes one of ours, with a remedy where one exists."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import extensionobject_from_binary
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from adapters.errors import AdapterError, Misconfigured, NotConnected
from adapters.opcua.errors import (
    FOREIGN,
    REMEDIES,
    crossing,
    from_status,
    status_error,
    status_name,
    to_border,
)
from adapters.opcua.values import Malformed

SOMEBODY_MUST_ACT = re.compile(
    r"Bad(User|Identity|Certificate|Security|License|NoValidCertificates|ApplicationSignature|TcpEndpointUrl|ServerUri)"
)


def below(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


CODES = sorted(ua.status_codes.code_to_name_doc)


@pytest.mark.parametrize("code", CODES)
def test_every_status_code_has_its_border_error(code: int) -> None:
    name = status_name(code)
    error = from_status(code, "opc.tcp://plc:4840")
    wanted = Misconfigured if SOMEBODY_MUST_ACT.match(name) else NotConnected
    assert type(error) is wanted, name
    assert "opc.tcp://plc:4840" in str(error)
    if wanted is Misconfigured:
        assert error.remedy


def test_every_error_class_of_the_library_crosses() -> None:
    kinds = [kind for kind in below(UaError) if isinstance(getattr(kind, "code", None), int)]
    assert len(kinds) > 200
    for kind in kinds:
        assert isinstance(to_border(kind(), "url"), AdapterError)
        assert issubclass(kind, FOREIGN)


def test_the_remedies_name_codes_that_exist() -> None:
    known = {name for name, _ in ua.status_codes.code_to_name_doc.values()}
    assert set(REMEDIES) <= known


@pytest.mark.parametrize(
    "error",
    [
        UaError("x"),
        ConnectionResetError(104, "reset"),
        ConnectionError("connection lost"),
        OSError(113, "No route to host"),
        TimeoutError(),
        struct.error("x"),
        Malformed("x"),
        ValueError("x"),
        EOFError(),
    ],
)
def test_what_the_system_raises_is_not_connected(error: Exception) -> None:
    with pytest.raises(NotConnected) as caught, crossing("opc.tcp://plc:4840"):
        raise error
    assert "opc.tcp://plc:4840" in str(caught.value)


def test_a_name_that_cannot_be_one_is_told_apart_from_text_that_cannot_be_read() -> None:
    """The system's own word for it is an error of encoding, as of a server's text."""
    with pytest.raises(UnicodeError) as refused:
        "a..b".encode("idna")
    error = to_border(refused.value, "opc.tcp://a..b:4840")
    assert "the name of the host cannot be a name" in str(error)
    assert error.remedy
    text = to_border(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "opc.tcp://plc:4840")
    assert "the name of the host" not in str(text)


def test_a_mistake_that_the_library_makes_over_bytes_is_not_connected() -> None:
    decode: Any = extensionobject_from_binary
    short = bytes.fromhex("030100020000f5")
    with pytest.raises(TypeError):
        decode(Buffer(short))
    broken = pytest.raises(NotConnected, match="plc:4840: an answer that breaks the encoding")
    with broken, crossing("opc.tcp://plc:4840"):
        decode(Buffer(short))
    with pytest.raises(TypeError), crossing("url"):
        decode()


def test_our_own_errors_and_our_own_faults_pass_unchanged() -> None:
    ours = Misconfigured("x", "y")
    with pytest.raises(Misconfigured) as caught, crossing("url"):
        raise ours
    assert caught.value is ours
    with pytest.raises(ZeroDivisionError), crossing("url"):
        _ = 1 / 0


def test_unknown_codes_are_shown_as_numbers() -> None:
    assert status_name(0x80FF0000) == "0x80FF0000"
    assert isinstance(status_error(0x80340000), UaStatusCodeError)
    assert status_name(0x80340480) == "BadNodeIdUnknown"
