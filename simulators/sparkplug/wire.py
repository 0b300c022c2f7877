"""Protobuf on the wire (protobuf.dev, "Encoding"): the four of its six forms that Sparkplug B needs, and a reader for commands.

By hand, because a generated encoder refuses to write what real edges write wrongly, and that is what is wanted here.
"""

import struct
from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BLOB: Final = 2
FIXED32: Final = 5
_U64: Final = (1 << 64) - 1


def varint(number: int) -> bytes:
    """Groups of seven bits, the lowest first. Negative numbers are two's complement in 64 bits."""
    left, groups = number & _U64, bytearray()
    while left > 0x7F:
        groups.append(left & 0x7F | 0x80)
        left >>= 7
    groups.append(left)
    return bytes(groups)


def tag(number: int, form: int) -> bytes:
    return varint(number << 3 | form)


def uint(number: int, value: int) -> bytes:
    return tag(number, VARINT) + varint(value)


def blob(number: int, content: bytes) -> bytes:
    return tag(number, BLOB) + varint(len(content)) + content


def text(number: int, content: str) -> bytes:
    return blob(number, content.encode())


def double(number: int, value: float) -> bytes:
    return tag(number, FIXED64) + struct.pack("<d", value)


def single(number: int, value: float) -> bytes:
    return tag(number, FIXED32) + struct.pack("<f", value)


def fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a message; fixed-size values as bytes. ValueError where it is none."""
    at = 0
    while at < len(content):
        key, at = _number(content, at)
        form = key & 7
        if form == VARINT:
            value, at = _number(content, at)
            yield key >> 3, value
            continue
        size, at = _number(content, at) if form == BLOB else ({FIXED64: 8, FIXED32: 4}.get(form, -1), at)
        if size < 0 or at + size > len(content):
            raise ValueError("no protobuf message")
        yield key >> 3, content[at : at + size]
        at += size


def _number(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(content) and shift < 70:
        number |= (content[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if content[at - 1] < 0x80:
            return number, at
    raise ValueError("no protobuf message")
