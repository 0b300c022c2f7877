"""M13: compressed messages are read, and none of them fills the memory."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.payloads.compressed import LARGEST, RATIO, Compression, inflate
from adapters.mqtt.payloads.shape import Decoded
from tests.mqtt.decoding import check, decoder, rows, why

# Without the second in which it was made: that would be part of the names of the tests, and no two workers agree on it.
gzipped = partial(gzip.compress, mtime=0)


def raw(plain: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(plain) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzipped, "zlib": zlib.compress, "raw": raw}


@given(st.binary(max_size=2000), st.sampled_from(["gzip", "zlib", "raw"]))
def test_what_was_packed_is_unpacked(plain: bytes, packer: str) -> None:
    packed = PACKERS[packer](plain)
    compression: Compression = "gzip" if packer == "gzip" else "deflate"
    fits = len(plain) <= RATIO * len(packed)
    assert not fits or inflate(packed, compression) == plain
    if packer != "raw":
        assert not fits or inflate(packed, "auto") == plain


@given(st.text().map(str.encode) | st.binary())
def test_no_bytes_raise(payload: bytes) -> None:
    for compression in ("gzip", "deflate", "auto"):
        for packed in (payload, gzipped(payload)[:-1], b"\x1f\x8b" + payload, b"\x78\x9c" + payload):
            found = inflate(packed, compression)
            assert isinstance(found, bytes) or check(found).refused


@pytest.mark.parametrize("plain", [b"x^2", b'{"a": 1}', b"21.5", b"", b"x\x01", b"\x1f"])
def test_plain_bytes_stay_as_they_are_with_auto(plain: bytes) -> None:
    assert inflate(plain, "auto") == plain


@pytest.mark.parametrize(
    ("payload", "compression", "reason"),
    [
        (b'{"a": 1}', "gzip", "not gzip"),
        (gzipped(b'{"a": 1}')[:-3], "gzip", "ends too early"),
        (gzipped(b'{"a": 1}') + b"more", "gzip", "4 bytes after the end"),
        (gzipped(b'{"a": 1}')[:-8] + bytes(8), "auto", "cannot be inflated"),
        (b"\xff\xff\xff", "deflate", "cannot be inflated"),
        (b"", "deflate", "ends too early"),
        (gzipped(b"{"), "gzip", "not JSON"),
    ],
)
def test_what_cannot_be_read_says_why(payload: bytes, compression: str, reason: str) -> None:
    assert reason in why(decoder({"type": "json", "compression": compression})(payload))


@pytest.mark.parametrize("packer", list(PACKERS))
@pytest.mark.parametrize("size", [10**6, 10**8])
def test_a_bomb_is_refused_before_it_grows(packer: str, size: int) -> None:
    """M13: at most 100 times its size and 8 MiB are ever held."""
    bomb = PACKERS[packer](bytes(size))
    for compression in (
        ("gzip",) if packer == "gzip" else ("deflate",) if packer == "raw" else ("deflate", "auto")
    ):
        tracemalloc.start()
        began = time.thread_time()
        found = inflate(bomb, compression)  # type: ignore[arg-type]
        took, (_, peak) = time.thread_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert isinstance(found, Decoded)
        assert "grows beyond" in found.refused[0].reason
        assert peak < 2 * min(LARGEST, RATIO * len(bomb)) + 300_000
        assert took < 1.0


def test_every_payload_can_be_compressed() -> None:
    assert rows(decoder({"type": "number", "compression": "gzip"}, "a")(gzipped(b"21.5"))) == [
        (0, 21.5, None)
    ]
    shdr = decoder({"type": "shdr", "compression": "auto"})
    assert rows(shdr(zlib.compress(b"|a|1"))) == rows(shdr(b"|a|1")) == [("a", "1", None)]
