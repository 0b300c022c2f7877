"""What the settings refuse, and in which words."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.opcua.nodeid import NodeAddress, parse_node_id
from adapters.opcua.settings import OpcUaRead, OpcUaSignal, OpcUaSource
from adapters.settings import Reading

URL = "opc.tcp://10.0.0.14:4840"
PIN = "ab" * 32


def reading(*nodes: str) -> Reading:
    signals = [OpcUaSignal(name=f"s{n}", node=node) for n, node in enumerate(nodes)]
    return Reading(machine="cnc-1", tags={}, read=OpcUaRead(source="plc", signals=signals))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("i=2258", NodeAddress(None, 0, "i", 2258)),
        ("ns=2;s=Spindle.Load", NodeAddress(None, 2, "s", "Spindle.Load")),
        ("ns=2;s=a;b=c", NodeAddress(None, 2, "s", "a;b=c")),
        ("nsu=urn:vendor:cnc;s=Load", NodeAddress("urn:vendor:cnc", 0, "s", "Load")),
        ("nsu=http://x.y/%3Bz;i=7", NodeAddress("http://x.y/;z", 0, "i", 7)),
        (
            "ns=1;g=09087e75-8e5e-499b-954f-f2a9603db28a",
            NodeAddress(None, 1, "g", uuid.UUID("09087e75-8e5e-499b-954f-f2a9603db28a")),
        ),
        ("ns=1;b=AQI=", NodeAddress(None, 1, "b", b"\x01\x02")),
    ],
)
def test_node_ids_in_every_form(text: str, address: NodeAddress) -> None:
    assert parse_node_id(text) == address
    assert text.endswith(address.identifier_text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Spindle",
        "ns=2",
        "ns=x;s=a",
        "ns=70000;i=1",
        "i=-1",
        "i=4294967296",
        "g=12",
        "b=?",
        "nsu=;s=a",
        "s=",
    ],
)
def test_a_bad_node_id_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValidationError) as error:
        OpcUaSignal(name="a", node=text)
    assert "NodeId" in str(error.value) or "namespace index" in str(error.value)


def test_the_strong_choice_is_the_default() -> None:
    source = OpcUaSource(type="opcua", url=URL)
    assert (source.security, source.policy) == ("sign_and_encrypt", "auto")


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"security": "none", "username": "a", "password": "b"}, "encrypted"),
        ({"password": "b"}, "username"),
        ({"certificate": "c.der"}, "belong together"),
        ({"url": "http://x"}, "opc.tcp://"),
        ({"url": "opc.tcp://u:p@h:4840"}, "no user or password"),
        ({"url": "opc.tcp://h:99999"}, "port"),
        ({"server_certificate_sha256": "12"}, "64 hexadecimal"),
        ({"security": "maybe"}, "sign_and_encrypt"),
        ({"security": "sign", "username": "a", "password": "b"}, "encrypted"),
        ({"policy": "None"}, "Basic256Sha256"),
        ({"user_certificate": "u.der"}, "belong together"),
        ({"user_certificate": "u.der", "user_key": "u.key", "username": "a"}, "by itself"),
        ({"user_certificate": "u.der", "user_key": "u.key", "security": "none"}, "by itself"),
        ({"publishing_interval": "0s"}, "greater than 0"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_is_wrong_is_refused_in_words(keys: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError) as error:
        OpcUaSource.model_validate({"type": "opcua", "url": URL, **keys})
    assert word in str(error.value)


def test_the_password_is_never_shown() -> None:
    source = OpcUaSource.model_validate(
        {"type": "opcua", "url": URL, "username": "a", "password": "very-secret"}
    )
    assert "very-secret" not in repr(source)
    assert "very-secret" not in source.model_dump_json()


def test_fingerprints_with_and_without_colons_are_the_same() -> None:
    with_colons = ":".join(["AB"] * 32)
    assert (
        OpcUaSource(type="opcua", url=URL, server_certificate_sha256=with_colons).server_certificate_sha256
        == PIN
    )


def test_the_port_has_its_default() -> None:
    assert OpcUaSource(type="opcua", url="opc.tcp://plc/path").url == "opc.tcp://plc:4840/path"


def test_review_warns_once_of_index_form_and_of_the_weak_choice() -> None:
    warnings = OpcUaSource(type="opcua", url=URL, security="none").review(
        [reading("ns=2;s=a", "ns=2;s=b"), reading("i=2258")]
    )
    assert len(warnings) == 2
    assert "anybody" in warnings[0]
    assert "nsu=<uri of namespace 2>;s=a" in warnings[1]


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"security": "none"}, "read and change"),
        ({"security": "sign"}, "can read it"),
        ({"policy": "Basic256"}, "WEAK"),
        ({"policy": "Basic128Rsa15"}, "WEAK"),
    ],
)
def test_review_warns_of_every_weak_choice(keys: dict[str, Any], word: str) -> None:
    (warning,) = OpcUaSource(type="opcua", url=URL, **keys).review([reading("nsu=urn:x;s=a")])
    assert word in warning
    assert not OpcUaSource(type="opcua", url=URL).review([reading("nsu=urn:x;s=a")])


def test_review_warns_of_files_that_are_not_there(tmp_path: Path) -> None:
    """Known without a connection, so `check` says it; a file that is there is no reason for a word."""
    (tmp_path / "own.der").write_bytes(b"x")
    keys = {
        "user_certificate": "user.der",
        "user_key": "user.pem",
        "certificate": "own.der",
        "private_key": "own.pem",
    }
    files = {key: tmp_path / name for key, name in keys.items()}
    warnings = OpcUaSource(type="opcua", url=URL, **files).review([reading("nsu=urn:x;s=a")])
    assert [words.partition(":")[0] for words in warnings] == ["user_certificate", "user_key", "private_key"]
    assert all("there is no file" in words for words in warnings)


def test_a_read_without_signals_is_refused() -> None:
    with pytest.raises(ValidationError, match="nothing to read"):
        OpcUaRead(source="plc")
    assert OpcUaRead(source="plc", signals_file="cnc.csv").signals == []


@pytest.mark.parametrize(
    ("every", "queue", "expected"),
    [("250ms", None, 40), ("1s", None, 10), ("0s", None, 100), ("1s", 3, 3), ("1ms", None, 10_000)],
)
def test_the_queue_covers_the_hold_time(every: str, queue: int | None, expected: int) -> None:
    signal = OpcUaSignal.model_validate({"name": "a", "node": "i=1", "every": every, "queue": queue})
    assert signal.queue_for(10.0) == expected


def test_loading_the_settings_does_not_load_the_library() -> None:
    program = "import sys, adapters.opcua.settings; print('asyncua' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
