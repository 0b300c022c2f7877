"""A megabyte from somebody who wishes us ill: read or refused, without holding the event loop."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.mqtt.decoding import BRIEFLY, check, cpu, decoder

M = 10**6
NAMED = {"type": "json", "each": "", "name": "n", "value": "v"}
NUMBERED = {"type": "binary", "records": {"size": 1}, "fields": [{"name": "a", "at": 0, "as": "uint8"}]}
WIDE = b"{" + b",".join(b'"%d":1' % n for n in range(M // 10)) + b"}"
HOSTILE: dict[str, tuple[Any, bytes]] = {
    "json lists": ("json", b"[" + b"[]," * (M // 3) + b"[]]"),
    "json deep": ("json", b"[" * M),
    "json keys": ("json", WIDE),
    "json records": (NAMED, b"[" + b'{"n":"a","v":1},' * (M // 17) + b"{}]"),
    "json colons": ("json", b'{"a":"' + b":" * M + b'"}'),
    "json packed": ({"type": "json", "compression": "auto"}, gzip.compress(WIDE)),
    "json digits": ("json", b"9" * M),
    "msgpack lists": ("msgpack", b"\x91" * M),
    "msgpack flat": ("msgpack", b"\xdd\x00\x0f\x42\x3b" + b"\x01" * (M - 5)),
    "msgpack empty lists": ("msgpack", b"\xdc\x75\x00" + b"\x90" * 0x7500),
    "csv header": ("csv", b"," * M),
    "csv wide rows": ("csv", b"a\n" + (b"," * 100 + b"\n") * 9_900),
    "csv quotes": ("csv", b'a\n"' + b'""' * (M // 2)),
    "line breaks": ("line", b"\n" * M),
    "line nonsense": ("line", b"x\n" * (M // 2)),
    "line quotes": ("line", b'a b="\\"\n' * (M // 9)),
    "line escapes": ("line", b"a," + b"\\=" * (M // 2)),
    "line fields": ("line", b"a " + b",".join(b"f%d=1" % n for n in range(M // 10))),
    "line spaces": ("line", b"a f=1" + b" " * M + b"x"),
    "binary": (NUMBERED, bytes(M)),
    "shdr": ("shdr", b"|a|1" * (M // 4)),
    "shdr lines": ("shdr", b"|a|1\n" * (M // 5)),
    "number": ("number", b"1" * M),
}
ONE = {"number": {"name": "a"}}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_hostile_megabyte_holds_the_loop_briefly(name: str) -> None:
    """M13: in CPU time."""
    payload, message = HOSTILE[name]
    decode = decoder(payload, *([ONE[name]] if name in ONE else []))
    assert check(decode(message)).seen
    assert cpu(lambda: decode(message)) < BRIEFLY
