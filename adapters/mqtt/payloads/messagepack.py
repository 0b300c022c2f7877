"""MessagePack, read by the same paths as JSON.

msgspec reads it, in C. It keeps the last of two equal keys and says nothing, and it makes room for as many items as a
header promises: so the headers are looked at first, one after the other. What they promise must fit into the bytes that
are left, and the keys that they announce must all be there afterwards.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from adapters.mqtt.payloads.document import DEEPEST
from adapters.mqtt.payloads.shape import MOST, refusal
from adapters.mqtt.times import EPOCH

# bytes that follow a header byte (MessagePack specification, "Overview"); a negative number: so many bytes hold a length
_FOLLOWING = {
    **dict.fromkeys(range(0xA0, 0xC0), 0),
    0xC4: -1, 0xC5: -2, 0xC6: -4, 0xC7: -1, 0xC8: -2, 0xC9: -4, 0xCA: 4, 0xCB: 8,
    0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17, 0xD9: -1, 0xDA: -2, 0xDB: -4,
}  # fmt: skip
_COUNTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
ITEMS = 3 * MOST  # headers that are looked at


def parse_messagepack(payload: bytes) -> Any:
    """The document, or a Decoded that says why there is none."""
    if not payload:
        return refusal("an empty message where MessagePack was expected")
    keys = _announced(payload)
    if isinstance(keys, str):
        return refusal(keys)
    try:
        document = msgspec.msgpack.decode(payload)
    except UnicodeDecodeError:
        return refusal("not MessagePack: a text in it is not UTF-8")
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError, OverflowError) as error:
        return refusal(f"not MessagePack: {str(error)[:200]}")
    try:
        plain, present = _plain(document, 0)
    except _NoName as problem:
        return refusal(str(problem))
    return (
        plain
        if present == keys
        else refusal("a key stands twice in one map: which value counts is not defined")
    )


def _announced(payload: bytes) -> int | str:
    """How many keys the maps announce, all together, or why the headers cannot be believed."""
    place, needed, keys, met, size = 0, 1, 0, 0, len(payload)
    while needed and place < size:
        met += 1
        step, items, announced = _header(payload, place)
        place, needed, keys = place + step, needed - 1 + items, keys + announced
        if met > ITEMS:
            return f"more than {ITEMS} items in one message: have the sender divide it"
        if needed > size - place:
            return "not MessagePack: it ends too early"
    if place > size or needed:
        return "not MessagePack: it ends too early"
    return keys if place == size else f"not MessagePack: {size - place} bytes after its end"


def _header(payload: bytes, place: int) -> tuple[int, int, int]:
    """Bytes of this item without those inside it, items inside it, keys among them."""
    byte = payload[place]
    if byte < 0x80 or byte >= 0xE0 or 0xC0 <= byte <= 0xC3:
        return 1, 0, 0
    if byte < 0x90:
        return 1, 2 * (byte & 15), byte & 15
    if byte < 0xA0:
        return 1, byte & 15, 0
    if byte < 0xC0:
        return 1 + (byte & 31), 0, 0
    if byte in _COUNTED:
        width, each = _COUNTED[byte]
        count = int.from_bytes(payload[place + 1 : place + 1 + width], "big")
        return 1 + width, each * count, count if each == 2 else 0
    following = _FOLLOWING[byte]
    if following >= 0:
        return 1 + following, 0, 0
    length = int.from_bytes(payload[place + 1 : place + 1 - following], "big")
    return 1 - following + length + (1 if 0xC7 <= byte <= 0xC9 else 0), 0, 0


class _NoName(Exception):
    """A part of a document that paths cannot name."""


def _plain(item: Any, depth: int) -> tuple[Any, int]:
    """The item as JSON would hold it, and its keys, all together: numbers as names become texts, moments RFC 3339."""
    kind = type(item)
    if kind is dict:
        return _object(item, depth)
    if kind is list:
        if depth >= DEEPEST:
            raise _NoName("MessagePack that is nested too deeply")
        found = [_plain(part, depth + 1) for part in item]
        return [part for part, _ in found], sum(keys for _, keys in found)
    if kind is datetime:
        since = (item.replace(tzinfo=None) - (item.utcoffset() or timedelta())) - EPOCH
        return (EPOCH + since).isoformat() + "Z", 0
    return item, 0


def _object(item: dict[Any, Any], depth: int) -> tuple[dict[str, Any], int]:
    if depth >= DEEPEST:
        raise _NoName("MessagePack that is nested too deeply")
    keys, plain = len(item), {}
    for key, value in item.items():
        if type(key) not in (str, int):
            raise _NoName("a key that is neither text nor number")
        plain[str(key)], more = _plain(value, depth + 1)
        keys += more
    if len(plain) < len(item):
        raise _NoName("a number and a text of one spelling as keys of one map")
    return plain, keys
