"""What the messages of a topic are, told from a few of them, and how a read entry has to say it.

A guess is never the last word: whatever is proposed is tried on all the messages that were kept, with the decoder that will read them
(`discover_propose.py`). So a guess may be simple, and in doubt the plainer kind wins.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from adapters.mqtt.discover_documents import MOST, TIMES, Field, Kind, document, is_time
from adapters.mqtt.payloads.bare import FLAGS, number, text
from adapters.mqtt.payloads.cbor import parse_cbor
from adapters.mqtt.payloads.document import parse_json
from adapters.mqtt.payloads.messagepack import parse_messagepack
from adapters.mqtt.payloads.shape import Decoded
from adapters.mqtt.times import by_magnitude

LONGEST: Final = 200  # characters of a text that may be a value
INFLATED: Final = 1 << 20
_LINE: Final = re.compile(rb"[^\s,=]+(,[^\s,=]+=[^\s,]+)* [^\s=]+=\S")
_SHDR: Final = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+Z?\|[^|]+\|")
_SEPARATORS: Final = ";,\t"


def kind_of(samples: Sequence[bytes]) -> Kind:
    """Of the messages of one topic."""
    filled = [sample for sample in samples if sample]
    if not filled:
        return Kind("empty", why="only empty messages came" if samples else "its messages are too large to be looked at")  # fmt: skip
    packed = [_inflated(sample) for sample in filled]
    if all(each is not None for each in packed):
        kind = _plain([each for each in packed if each is not None])
        payload = {"type": kind.payload} if isinstance(kind.payload, str) else dict(kind.payload or {})
        kind.payload = {**payload, "compression": "auto"} if payload else None
        kind.words = f"compressed {kind.words}".strip()
        return kind
    return _plain(filled)


def _inflated(sample: bytes) -> bytes | None:
    window = 31 if sample[:2] == b"\x1f\x8b" else 15 if sample[:1] == b"\x78" and len(sample) > 8 else 0
    if not window:
        return None
    unpacker = zlib.decompressobj(window)
    try:
        opened = unpacker.decompress(sample, INFLATED)
    except zlib.error:
        return None
    return opened if unpacker.eof else None


def _plain(samples: Sequence[bytes]) -> Kind:
    for judge in (_bare, _json, _shdr, _line, _csv, _text, _msgpack, _cbor):
        kind = judge(samples)
        if kind is not None:
            return kind
    sizes = sorted({len(sample) for sample in samples})
    words = f"{sizes[0]} bytes" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} bytes"
    return Kind("binary", words=words, why="binary of an unknown layout: describe it (payload: binary, fields)")  # fmt: skip


def _bare(samples: Sequence[bytes]) -> Kind | None:
    if all(number(sample).rows for sample in samples):
        return Kind("number", "number", [Field((), {}, "number", float(samples[-1]))])
    words = [sample.strip().lower() for sample in samples]
    if all(word in FLAGS for word in words):
        return Kind("flag", "flag", [Field((), {}, "flag", FLAGS[words[-1]])])
    return None


def _text(samples: Sequence[bytes]) -> Kind | None:
    if not all(text(sample).rows for sample in samples):
        return None
    shown = samples[-1].decode()
    if not all(char.isprintable() or char in "\r\n\t" for char in shown):
        return None
    long = len(shown) > LONGEST
    return Kind("text", "text", [Field((), {}, "text", shown)], why=f"a text of {len(shown)} characters" if long else "")  # fmt: skip


def _shdr(samples: Sequence[bytes]) -> Kind | None:
    if not all(_SHDR.match(sample) for sample in samples):
        return None
    found: dict[str, Field] = {}
    for sample in samples:
        for line in sample.decode("utf-8", "replace").splitlines():
            cells = line.split("|")[1:]
            if len(cells) % 2 == 0:
                found.update({name: Field((name,), {"item": name}, "text", cell) for name, cell in zip(cells[::2], cells[1::2], strict=True) if name and name[0] != "@"})  # fmt: skip
    numbers = [name for name, each in found.items() if number(str(each.shown).encode()).rows]
    for name in numbers:
        found[name].kind = "number"
    payload = {"type": "shdr", "numbers": numbers} if numbers else "shdr"
    return Kind("shdr", payload, list(found.values())[:MOST], "MTConnect SHDR")


def _line(samples: Sequence[bytes]) -> Kind | None:
    if not all(_LINE.match(sample) for sample in samples):
        return None
    from adapters.mqtt.payloads.lineprotocol import lines

    decoded = [lines("ns", None)(sample) for sample in samples]
    if any(each.refused for each in decoded):
        return None
    stamps = [int(match[1]) for sample in samples for match in re.finditer(rb" (\d{9,20})\s*(?:\n|\Z)", sample)]  # fmt: skip
    unit = by_magnitude(max(stamps, default=10**18))
    found: dict[str, Field] = {}
    for row in (row for each in decoded for row in each.rows):
        key = str(getattr(row.key, "key", row.key))
        kind = row.kind.name.lower() if row.kind else ""
        found[key] = Field((key,), {"item": key}, kind, row.value)
    payload: Any = "line" if unit == "ns" else {"type": "line", "precision": unit}
    return Kind("line", payload, list(found.values())[:MOST], f"InfluxDB line protocol, times in {unit}")


def _csv(samples: Sequence[bytes]) -> Kind | None:
    """With a header and a row in every message; without a header nobody can know what the columns are."""
    if not all(text(sample).rows for sample in samples):
        return None
    for separator in _SEPARATORS:
        tables = [[line.split(separator) for line in sample.decode().strip().splitlines()] for sample in samples]  # fmt: skip
        if not all(len(rows) > 1 and len({len(row) for row in rows}) == 1 < len(rows[0]) for rows in tables):
            continue
        header = [name.strip() for name in tables[-1][0]]
        if all(header) and not any(number(name.encode()).rows for name in header):
            return _columns(header, separator, tables)
    return None


def _columns(header: Sequence[str], separator: str, tables: Sequence[Sequence[Sequence[str]]]) -> Kind:
    cells = {name: [row[n].strip() for rows in tables for row in rows[1:]] for n, name in enumerate(header)}
    decimal = "," if separator != "," and any(re.fullmatch(r"-?\d+,\d+", c) for col in cells.values() for c in col) else "."  # fmt: skip
    made, texts, time = [], [], ""
    for name, column in cells.items():
        numeric = all(number(cell.replace(decimal, ".").encode()).rows for cell in column if cell)
        if not time and TIMES.fullmatch(name) and all(is_time(_number_or(cell)) for cell in column):
            time = name
        elif not numeric:
            texts.append(name)
        made.append(Field((name,), {"item": name}, "number" if numeric else "text", column[-1], role="time" if name == time else ""))  # fmt: skip
    payload = {"type": "csv", **({"separator": separator} if separator != "," else {}), **({"decimal": ","} if decimal == "," else {}),
               **({"time": time} if time else {}), **({"texts": texts} if texts else {})}  # fmt: skip
    return Kind("csv", payload, made[:MOST], f"CSV with a header{f', time in {time}' if time else ''}")


def _number_or(cell: str) -> Any:
    return float(cell) if number(cell.encode()).rows else cell


def _json(samples: Sequence[bytes]) -> Kind | None:
    documents = [parse_json(sample) for sample in samples]
    for each, sample in zip(documents, samples, strict=True):
        reason = each.refused[0].reason if isinstance(each, Decoded) else ""
        if reason and sample.lstrip()[:1] in (b"{", b"[") and not reason.startswith("not JSON"):
            return Kind("json", why=reason)
    if any(isinstance(each, Decoded) or not isinstance(each, dict | list) for each in documents):
        return None
    return document("json", documents)


def _msgpack(samples: Sequence[bytes]) -> Kind | None:
    return _packed("msgpack", parse_messagepack, samples)


def _cbor(samples: Sequence[bytes]) -> Kind | None:
    return _packed("cbor", parse_cbor, samples)


def _packed(name: str, parse: Callable[[bytes], Any], samples: Sequence[bytes]) -> Kind | None:
    documents = [parse(sample) for sample in samples]
    return document(name, documents) if all(isinstance(each, dict) for each in documents) else None
