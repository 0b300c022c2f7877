"""A message that is one value: a decimal number, a text, a truth value.

A decimal comma is refused and not guessed at: 1,234 is a thousand times another number in half of Europe.
"""

from __future__ import annotations

import re

from adapters.mqtt.payloads.shape import Decode, Decoded, Row, refusal
from pipelines.batch import Kind

_NUMBER = re.compile(rb"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")
_NOT_FINITE = re.compile(rb"\s*[+-]?(?:nan|inf|infinity)\s*", re.IGNORECASE)
_COMMA = re.compile(rb"\s*[+-]?\d+(?:\.\d{3})*,\d+\s*")
FLAGS = {
    **dict.fromkeys((b"true", b"on", b"yes", b"1"), True),
    **dict.fromkeys((b"false", b"off", b"no", b"0"), False),
}


def number(payload: bytes) -> Decoded:
    """`21.5` or ` -3e-2 `; `NaN` and `inf` become the value NaN or infinity, which refining marks."""
    if len(payload) <= 1000 and (_NUMBER.fullmatch(payload) or _NOT_FINITE.fullmatch(payload)):
        return Decoded(1, (Row(0, Kind.NUMBER, float(payload)),))
    if _COMMA.fullmatch(payload[:1000]):
        return refusal("a number with a decimal comma: have the sender write a point (21.5)")
    if not payload.strip():
        return refusal("an empty message where a number was expected")
    return refusal(f"not a number: {excerpt(payload)}")


def text(payload: bytes) -> Decoded:
    """UTF-8, kept as it is, empty text included."""
    try:
        return Decoded(1, (Row(0, Kind.TEXT, payload.decode()),))
    except UnicodeDecodeError as error:
        return refusal(f"not UTF-8: byte 0x{payload[error.start]:02x} at place {error.start}")


def flag(payload: bytes) -> Decoded:
    """true/false, on/off, yes/no, 1/0."""
    known = FLAGS.get(payload.strip().lower())
    if known is None:
        return refusal(f"not a truth value (true/false, on/off, yes/no, 1/0): {excerpt(payload)}")
    return Decoded(1, (Row(0, Kind.FLAG, known),))


BARE: dict[str, Decode] = {"number": number, "text": text, "flag": flag}


def excerpt(payload: bytes, length: int = 40) -> str:
    """The beginning of a message, safe to print."""
    shown = payload[:length].decode("utf-8", "backslashreplace")
    return repr(shown) + ("…" if len(payload) > length else "")
