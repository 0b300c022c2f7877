"""Bytes of a message to a payload of the schema: opened, bounded, and never an exception for what a stranger sent.

Compression is Eclipse Tahu's envelope: uuid `SPBV1.0_COMPRESSED`, the bytes in `body`, and a metric `algorithm` (GZIP where it is missing).
"""

from __future__ import annotations

import zlib
from typing import Any, Final

from adapters.mqtt.sparkplug.schema import MOST, DecodeError, Payload, crowded

COMPRESSED: Final = "SPBV1.0_COMPRESSED"
LARGEST: Final = 8 << 20  # bytes of an opened envelope
RATIO: Final = 100  # and how many times its compressed size
_WINDOWS: Final = {"GZIP": 31, "DEFLATE": 15}


def opened(raw: bytes) -> Any:
    """The payload, out of its envelope; a str says why there is none."""
    outer = _parsed(raw)
    if isinstance(outer, str) or outer.uuid != COMPRESSED:
        return outer
    inner = _inflated(outer)
    return inner if isinstance(inner, str) else _parsed(inner)


def _parsed(raw: bytes) -> Any:
    if not raw:
        return "an empty message where a Sparkplug payload was expected (who deletes retained messages sends these)"
    if crowded(raw):
        return f"more than {MOST} metrics in one message: have the edge divide it"
    try:
        return Payload.FromString(raw)
    except DecodeError:
        return "not a Sparkplug payload: the bytes are no protobuf, or end in the middle"


def _inflated(outer: Any) -> bytes | str:
    algorithm = next((each.string_value for each in outer.metrics if each.name == "algorithm"), "") or "GZIP"
    window = _WINDOWS.get(str(algorithm).upper())
    if window is None:
        return f"compressed with {str(algorithm)[:40]!r}: only GZIP and DEFLATE are known"
    allowed = min(LARGEST, RATIO * len(outer.body) + 1000)
    unpacker = zlib.decompressobj(window)
    try:
        body = unpacker.decompress(outer.body, allowed)
    except zlib.error:
        return f"the envelope says {algorithm}, and its body is not"
    if unpacker.unconsumed_tail:
        return f"unpacks to more than {LARGEST >> 20} MiB, or more than {RATIO} times its size"
    return body if unpacker.eof else f"the {algorithm} body ends in the middle"
