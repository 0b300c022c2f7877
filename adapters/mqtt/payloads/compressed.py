"""Compressed messages: inflated before any decoder sees them, within bounds that no sender sets (a kilobyte of gzip can
stand for a gigabyte of zeros). What is quarantined is the message as it came, so that it can be read again.
"""

from __future__ import annotations

import zlib
from typing import Literal

from adapters.mqtt.payloads.shape import Decode, Decoded, refusal

Compression = Literal["none", "gzip", "deflate", "auto"]
LARGEST = 8 * 2**20  # bytes of an inflated message
RATIO = 100  # inflated bytes per byte
_GZIP, _ZLIB, _RAW = 31, 15, -15  # window bits as zlib's inflateInit2 takes them
_MAGIC = b"\x1f\x8b"


def inflating(decode: Decode, compression: Compression) -> Decode:
    """The decoder behind the inflation that the configuration asks for."""
    if compression == "none":
        return decode

    def inflated(payload: bytes) -> Decoded:
        plain = inflate(payload, compression)
        return decode(plain) if isinstance(plain, bytes) else plain

    return inflated


def inflate(payload: bytes, compression: Compression) -> bytes | Decoded:
    """The plain bytes, or why there are none.

    deflate: with the zlib frame (RFC 1950) or without (RFC 1951), as with HTTP's word of that name. auto: gzip and zlib
    are known by their first bytes, anything else is plain; a text may begin like a zlib frame (`x^2`), so what then
    cannot be inflated is plain too.
    """
    gzip, framed = payload.startswith(_MAGIC), _is_framed(payload)
    if compression == "gzip" or (compression == "auto" and gzip):
        return _inflated(payload, _GZIP) if gzip else refusal("not gzip, which compression: gzip expects")
    found = _inflated(payload, _ZLIB) if framed else None
    if found is not None and (isinstance(found, bytes) or found.refused[0].reason.startswith(_BOMB)):
        return found
    return payload if compression == "auto" else _inflated(payload, _RAW)


def _is_framed(payload: bytes) -> bool:
    """RFC 1950, 2.2: method 8, and the first two bytes are a multiple of 31."""
    return len(payload) > 2 and payload[0] & 0x0F == 8 and (payload[0] << 8 | payload[1]) % 31 == 0


_BOMB = "a compressed message that grows beyond"


def _inflated(payload: bytes, bits: int) -> bytes | Decoded:
    limit = min(LARGEST, RATIO * len(payload))
    inflater = zlib.decompressobj(bits)
    try:
        plain = inflater.decompress(payload, limit + 1)
    except zlib.error as error:
        return refusal(f"cannot be inflated: {error}")
    if len(plain) > limit:
        return refusal(f"{_BOMB} {limit} bytes (at most {LARGEST} bytes, and {RATIO} times its size)")
    if not inflater.eof:
        return refusal("a compressed message that ends too early")
    if inflater.unused_data:
        return refusal(f"{len(inflater.unused_data)} bytes after the end of the compressed message")
    return plain
