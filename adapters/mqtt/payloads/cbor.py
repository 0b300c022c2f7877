"""CBOR (RFC 8949), read by the same paths as JSON.

Read here and not by a library: what a stranger promises must be looked at before anything is made of it (lengths, levels, keys that
stand twice), and whoever has looked at every header has read the message. cbor2, which is written in Rust, hashes whatever stands as a
key before anybody is asked, and whole numbers without end can be made to collide at will. The tests compare both.

What has no place in JSON: byte strings, simple values and tags that are not listed here are refused as values, one by one. `undefined` is
no value. Tags that only say how a text is meant (32 to 36) and the one that says that this is CBOR (55799) are passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

from adapters.mqtt.payloads.document import DEEPEST, Unreadable
from adapters.mqtt.payloads.shape import MOST, refusal
from adapters.mqtt.times import EPOCH, epoch

ITEMS = 3 * MOST
LONGEST_NUMBER = 128  # bytes: what is longer is beyond a double in any case
_INDEFINITE = -1
_BREAK = object()
_WIDTHS = {24: 1, 25: 2, 26: 4, 27: 8}
_FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_DOUBLE = struct.Struct(">xd")
_PLAIN = {20: False, 21: True, 22: None, 23: None}
_SAID = frozenset((21, 22, 23, 32, 33, 34, 35, 36, 258, 55799))
_ARRAYS = {
    64: ">B", 65: ">H", 66: ">I", 67: ">Q", 68: "<B", 69: "<H", 70: "<I", 71: "<Q", 72: ">b", 73: ">h", 74: ">i", 75: ">q",
    77: "<h", 78: "<i", 79: "<q", 80: ">e", 81: ">f", 82: ">d", 84: "<e", 85: "<f", 86: "<d",
}  # RFC 8746, 2; quadruple precision (83, 87) is read by nobody here  # fmt: skip


class _Broken(Exception):
    """Why the message cannot be read."""


def parse_cbor(payload: bytes) -> Any:
    """The document, or a Decoded that says why there is none."""
    if not payload:
        return refusal("an empty message where CBOR was expected")
    reader = _Reader(payload)
    try:
        document = reader.item(0)
        if document is _BREAK:
            _fail("not CBOR: a break where a value was expected")
    except IndexError:
        return refusal("not CBOR: it ends too early")
    except UnicodeDecodeError:
        return refusal("not CBOR: a text in it is not UTF-8")
    except _Broken as problem:
        return refusal(str(problem))
    rest = len(payload) - reader.place
    return refusal(f"not CBOR: {rest} bytes after its end") if rest else document


def _fail(why: str) -> NoReturn:
    raise _Broken(why)


class _Reader:
    """place: of the next byte. Raises IndexError at the end of the bytes."""

    __slots__ = ("_data", "_left", "_majors", "_size", "place")

    def __init__(self, data: bytes) -> None:
        self._data, self._size, self.place, self._left = data, len(data), 0, ITEMS
        self._majors: tuple[Callable[[int, int], Any], ...] = (
            self._number,
            self._negative,
            self._bytes,
            self._text,
            self._array,
            self._map,
            self._tag,
            self._simple,
        )

    def item(self, depth: int) -> Any:
        """The next item; at the end of an indefinite one `_BREAK`."""
        byte = self._data[self.place]
        self._left -= 1
        if self._left < 0:
            _fail(f"more than {ITEMS} items in one message: have the sender divide it")
        if 0x60 <= byte < 0x78:  # a short text and a double, the usual ones, without further calls
            return self._take(byte - 0x5F)[1:].decode()
        if byte == 0xFB:
            return _DOUBLE.unpack(self._take(9))[0]
        self.place += 1
        return self._majors[byte >> 5](byte & 31, depth)

    def _argument(self, short: int) -> int:
        """RFC 8949, 3."""
        if short < 24:
            return short
        width = _WIDTHS.get(short)
        if width is None:
            if short == 31:
                return _INDEFINITE
            _fail(f"not CBOR: an additional information of {short}, which is reserved")
        return int.from_bytes(self._take(width), "big")

    def _take(self, size: int) -> bytes:
        begin = self.place
        self.place = end = begin + size
        if end > self._size:
            raise IndexError
        return self._data[begin:end]

    def _number(self, short: int, _depth: int) -> int:
        value = self._argument(short)
        if value == _INDEFINITE:
            _fail("not CBOR: a number of indefinite length")
        return value

    def _negative(self, short: int, depth: int) -> int:
        return -1 - self._number(short, depth)

    def _string(self, short: int, major: int) -> bytes:
        size = self._argument(short)
        return self._take(size) if size >= 0 else b"".join(self._chunks(major))

    def _chunks(self, major: int) -> list[bytes]:
        """Of a string of indefinite length: definite ones of the same kind (RFC 8949, 3.2.3)."""
        found = []
        while (byte := self._data[self.place]) != 0xFF:
            self.place += 1
            self._left -= 1
            size = self._argument(byte & 31)
            if byte >> 5 != major or size < 0 or self._left < 0:
                _fail("not CBOR: a string whose parts are not strings of its kind")
            chunk = self._take(size)
            if major == 3:
                chunk.decode()
            found.append(chunk)
        self.place += 1
        return found

    def _bytes(self, short: int, _depth: int) -> bytes:
        return self._string(short, 2)

    def _text(self, short: int, _depth: int) -> str:
        return self._string(short, 3).decode()

    def _array(self, short: int, depth: int) -> list[Any]:
        count = self._members(short, depth, 1)
        if count >= 0:
            return [self._whole(depth + 1) for _ in range(count)]
        found = []
        while (item := self.item(depth + 1)) is not _BREAK:
            found.append(item)
        return found

    def _whole(self, depth: int) -> Any:
        item = self.item(depth)
        if item is _BREAK:
            _fail("not CBOR: a break where a value was expected")
        return item

    def _members(self, short: int, depth: int, each: int) -> int:
        """How many members are announced; what cannot be there is refused before anything is made of it."""
        if depth >= DEEPEST:
            _fail("CBOR that is nested too deeply")
        count = self._argument(short)
        if count * each > self._size - self.place:
            raise IndexError
        return count

    def _map(self, short: int, depth: int) -> dict[str, Any]:
        count, found, read = self._members(short, depth, 2), {}, 0
        while read != count:
            key = self.item(depth + 1)
            if key is _BREAK and count < 0:
                break
            if type(key) is not str:
                key = _named(key)
            if key in found:
                _fail(f"the key {key[:60]!r} stands twice in one map: which value counts is not defined")
            found[key] = self._whole(depth + 1)
            read += 1
        return found

    def _simple(self, short: int, _depth: int) -> Any:
        if short in _FLOATS:
            return _FLOATS[short].unpack(self._take(_WIDTHS[short]))[0]
        if short == 31:
            return _BREAK
        if short in _PLAIN:
            return _PLAIN[short]
        number = self._argument(short)
        if short == 24 and number < 32:
            _fail("not CBOR: a simple value in two bytes that has one")
        return Unreadable(f"the simple value {number}")

    def _tag(self, short: int, depth: int) -> Any:
        tag = self._number(short, depth)
        if depth >= DEEPEST:
            _fail("CBOR that is nested too deeply")
        content = self._whole(depth + 1)
        if tag in _SAID:
            return content
        found = _tagged(tag, content)
        return Unreadable(f"a value of the CBOR tag {tag}") if found is None else found


def _named(key: Any) -> str:
    """A number as a name; compared as texts, so that no two keys can be made to collide."""
    if type(key) is not int or not -(2**64) <= key < 2**64:
        _fail("a key that is neither text nor number")
    return str(key)


def _tagged(tag: int, content: Any) -> Any:
    """What a tag makes of its content, None where that is nothing we know (RFC 8949, 3.4)."""
    kind = type(content)
    if tag == 0 and kind is str:
        return content
    if tag == 1 and kind in (int, float):
        return _moment(content)
    if tag in (2, 3) and kind is bytes and len(content) <= LONGEST_NUMBER:
        number = int.from_bytes(content, "big")
        return number if tag == 2 else -1 - number
    if tag in (4, 5) and kind is list and [type(part) for part in content] == [int, int]:
        return _scaled(tag, *content)
    if tag in _ARRAYS and kind is bytes:
        return _array(_ARRAYS[tag], content)
    return None


def _moment(seconds: float) -> str | None:
    """RFC 3339 in UTC, so that it is a time whatever unit the configuration expects of plain numbers."""
    at = epoch(seconds, "s")
    if at is None:
        return None
    whole, rest = divmod(at, 10**9)
    return f"{(EPOCH + timedelta(seconds=whole)).isoformat()}.{rest:09d}Z"


def _scaled(tag: int, exponent: int, mantissa: int) -> float | int | None:
    """A decimal fraction or bigfloat, as the nearest double; whole ones stay whole."""
    if abs(exponent) > 400 or mantissa.bit_length() > 8 * LONGEST_NUMBER:
        return None
    base = 10 if tag == 4 else 2
    power: int = base ** abs(exponent)
    if exponent >= 0:
        return mantissa * power
    try:
        return mantissa / power
    except OverflowError:
        return None


def _array(code: str, content: bytes) -> list[Any] | None:
    """A typed array (RFC 8746)."""
    count, rest = divmod(len(content), struct.calcsize(code))
    return None if rest else list(struct.unpack(f"{code[0]}{count}{code[1]}", content))
