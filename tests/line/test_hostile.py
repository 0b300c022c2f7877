"""What nobody should send and somebody will: each payload through adapter, refining and journal, and every value accounted for.

Rows B1 to B8 of the fault list. The books are asked, not the code that keeps them: decoded = journaled + refused + filtered, and
what was journaled is read back.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapters.base import Delivery
from adapters.clock import SystemClock
from adapters.mqtt.adopted import Adopted
from adapters.mqtt.channel import Message
from adapters.mqtt.routes import Routes
from adapters.mqtt.sheet import Sheet
from collector.journal.base import SourceAccount
from collector.journal.reader import JournalReader
from collector.journal.sqlite import open_journal
from pipelines.refinery import refinery
from pipelines.stage import Treatments
from tests.mqtt.peers import Shop

T0 = 1_790_000_000_000_000_000
SLOWEST = 5.0
"""Seconds of this thread's own time for one message of a megabyte; tenths of them on a computer of today."""


class Row(NamedTuple):
    signal: str
    at: int
    value: Any  # None: no value
    quality: int


class Outcome(NamedTuple):
    account: SourceAccount
    rows: list[Row]
    reasons: list[str]
    seconds: float

    def good(self, signal: str) -> list[Any]:
        return [row.value for row in self.rows if row.signal == signal and row.quality == 0]


async def through(
    folder: Path, payloads: Sequence[bytes | tuple[str, bytes]], *reads: dict[str, Any], limit: int = 1000
) -> Outcome:
    """Every payload as a message of its own, to `m/m1` where it names no topic."""
    clock, path = SystemClock(), folder / "buffer.sqlite"
    async with open_journal(path, followers=["database"], clock=clock, window=0.0) as journal:
        shop = Shop(1, journal.registry, clock)
        source = shop.source(*reads)
        routes = Routes(source._readings, source._bench, Adopted(limit))
        refine = refinery(journal.registry, Treatments())
        slowest = 0.0
        for number, sent in enumerate(payloads):
            topic, payload = sent if isinstance(sent, tuple) else ("m/m1", sent)
            began = time.thread_time()
            sheet = Sheet()
            stamp = T0 + number
            routes.read(
                Message(topic.encode(), payload, 1, 1, False, False, stamp, len(payload)), stamp, sheet
            )
            batches = sheet.batches(stamp, journal.registry.version)
            refined = refine(batches, journal.identity("b"))
            slowest = max(slowest, time.thread_time() - began)
            await journal.append("b", Delivery(batches, sheet.decoded, sheet.refused), refined)
        ledger = await journal.ledger()
    assert ledger.unaccounted == 0
    assert slowest < SLOWEST, "one message holds up all others"
    with JournalReader(path) as reader:
        registry = reader.registry
        rows = [
            Row(registry[point].name, at, value if there else None, quality)
            for entry in reader.entries()
            for point, at, value, quality, there in zip(
                entry.batch.points.tolist(),
                entry.batch.at.tolist(),
                entry.batch.values.tolist(),
                entry.batch.quality.tolist(),
                entry.batch.has_value.tolist(),
                strict=True,
            )
        ]
        reasons = [kept.refusal.reason for kept in reader.quarantined()]
    return Outcome(ledger.sources["b"], rows, reasons, slowest)


def read_json(*signals: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"topic": "m/{machine}", "payload": "json", "signals": signals, **more}


X = {"name": "x", "value": "v"}


@pytest.mark.parametrize("kind", ["number", "json"])
async def test_numbers_that_are_none(tmp_path: Path, kind: str) -> None:
    """B1: NaN, infinities and what overflows are no values; -0.0 and the smallest numbers are, to the last bit."""
    texts = [b"NaN", b"nan", b"Infinity", b"-inf", b"1e400", b"-1e400"]
    exact = [-0.0, 5e-324, -2.2250738585072014e-308, 1.7976931348623157e308, 0.1]
    sent = [*texts, *(repr(value).encode() for value in exact)]
    if kind == "json":
        outcome = await through(tmp_path, [b'{"v": %s}' % text for text in sent], read_json(X))
    else:
        read = {"topic": "m/{machine}", "payload": "number", "signals": [{"name": "x"}]}
        outcome = await through(tmp_path, sent, read)
    assert outcome.account.decoded == len(sent)
    assert [value.hex() for value in outcome.good("x")] == [value.hex() for value in exact]
    bad = [row for row in outcome.rows if row.quality]
    assert all(row.value is None for row in bad)
    assert len(bad) + outcome.account.refused == len(texts)
    assert math.copysign(1, outcome.good("x")[0]) == -1


INTEGERS = [2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**300]


async def test_integers_beyond_64_bits(tmp_path: Path) -> None:
    """B2: exact where the kind can hold them, the nearest double where that was asked for, otherwise no value; none is bent."""
    signals = [
        {"name": "number", "value": "v"},
        {"name": "integer", "value": "v", "kind": "integer"},
        {"name": "unsigned", "value": "v", "kind": "unsigned"},
    ]
    outcome = await through(tmp_path, [b'{"v": %d}' % n for n in INTEGERS], read_json(*signals))
    assert outcome.good("integer") == [n for n in INTEGERS if -(2**63) <= n < 2**63]
    assert outcome.good("unsigned") == [n for n in INTEGERS if 0 <= n < 2**64]
    assert outcome.good("number") == [float(n) for n in INTEGERS]


async def test_a_number_of_five_thousand_digits(tmp_path: Path) -> None:
    """B2: refused by name, and the message after it is read."""
    outcome = await through(tmp_path, [b'{"v": %s}' % (b"9" * 5_000), b'{"v": 1}'], read_json(X))
    assert outcome.good("x") == [1.0]
    assert outcome.account.refused + sum(row.value is None for row in outcome.rows) == 1


MEGABYTE = 1_000_000
MONSTERS = {
    "deep": b"[" * (MEGABYTE // 2) + b"]" * (MEGABYTE // 2),
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a hundred thousand keys": json.dumps({f"k{n}": n for n in range(70_000)}).encode(),
    "BOM": b'\xef\xbb\xbf{"v": 1}',
    "trailing bytes": b'{"v": 1} {"v": 2}',
    "lone surrogate": b'{"w": "\\ud800"}',
    "invalid UTF-8": b'{"w": "\xff\xfe"}',
    "empty": b"",
    "blank": b" \n\t",
    "cut": b'{"v": 1',
    "NUL": b'{"v": 1}\x00',
    "a long text": b'{"w": "' + b"x" * (MEGABYTE - 10) + b'"}',
    "binary": bytes(range(256)) * 100,
}


@pytest.mark.parametrize("name", MONSTERS)
@pytest.mark.parametrize("adopt", [False, True])
async def test_monstrous_json(tmp_path: Path, name: str, adopt: bool) -> None:
    """B3: refused with a reason or read in bounds, without delay for those behind it; never a crash, never silence."""
    read = {"topic": "m/{machine}", "payload": "json", "adopt": True} if adopt else read_json(X)
    outcome = await through(tmp_path, [b'{"v": 1}', MONSTERS[name], b'{"v": 2}'], read)
    signal = "v" if adopt else "x"
    assert outcome.good(signal) == [1.0, 2.0]
    assert outcome.account.decoded >= 3
    assert outcome.account.refused >= 1 or adopt
    assert len({row.signal for row in outcome.rows}) <= 1000


async def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """B3: which of the two values counts is not defined, so neither is taken, and the message is kept."""
    outcome = await through(tmp_path, [b'{"v": 1, "v": 2}', b'{"v": 3}'], read_json(X))
    assert outcome.good("x") == [3.0]
    assert (outcome.account.decoded, outcome.account.refused) == (2, 1)


ARRAYS = {
    "long": json.dumps({"v": [1.5] * 100_000}).encode(),
    "matrix": json.dumps({"v": [[1, 2], [3, 4]]}).encode(),
    "structure": b'{"v": {"a": 1}}',
    "mixed": b'{"v": [1, "a", null]}',
    "empty": b'{"v": []}',
}


@pytest.mark.parametrize("name", ARRAYS)
async def test_arrays_where_a_number_was_expected(tmp_path: Path, name: str) -> None:
    """B4: refused by name; the signals beside it and the messages behind it are read."""
    sent = ARRAYS[name][:-1] + b', "w": 5}'
    outcome = await through(
        tmp_path, [sent, b'{"v": 1, "w": 6}'], read_json({**X, "kind": "number"}, {"name": "w", "value": "w"})
    )
    assert outcome.good("w") == [5.0, 6.0]
    assert outcome.good("x") == [1.0]
    assert outcome.account.refused == 1
    assert outcome.reasons


async def test_an_array_that_was_asked_for_is_kept_whole(tmp_path: Path) -> None:
    """B4: a waveform of a hundred thousand samples, to the last one."""
    outcome = await through(tmp_path, [ARRAYS["long"]], read_json({**X, "kind": "waveform"}))
    assert [len(wave) for wave in outcome.good("x")] == [100_000]


TEXTS = [
    "line\nbreak",
    "NUL\0inside",
    'quotes " and \\" more',
    "backslash before comma \\, and at the end \\",
    "m,tag=x field=1 1\nevil,machine=m2 x=1 5",
    "\u202eright to left\u202c",
    "🏭 emoji",
    "=cmd|' /C calc'!A0",
    "é e\u0301",
    "x" * 60_000,
    "",
]


async def test_hostile_texts_are_kept_as_they_are(tmp_path: Path) -> None:
    """B5: to the last character (what a database makes of them is shown in influxdb/test_encode.py)."""
    payloads = [json.dumps({"v": text}).encode() for text in TEXTS]
    outcome = await through(tmp_path, payloads, read_json({**X, "kind": "text"}))
    assert outcome.good("x") == TEXTS


async def test_fields_that_come_and_change_their_type(tmp_path: Path) -> None:
    """B6: new fields up to the limit; a type that changed costs that value alone, and its neighbours go on."""
    drifting = [
        b'{"a": 1, "b": 1}',
        b'{"a": "warm", "b": 2}',
        b'{"a": {"deeper": 1}, "b": 3}',
        json.dumps({**{f"new{n}": n for n in range(50)}, "a": 4, "b": 4}).encode(),
    ]
    read = {"topic": "m/{machine}", "payload": "json", "adopt": True}
    outcome = await through(tmp_path, drifting, read, limit=20)
    assert outcome.good("b") == [1.0, 2.0, 3.0, 4.0]
    assert outcome.good("a") == [1.0, 4.0]
    assert len({row.signal for row in outcome.rows}) == 20
    assert any("adopt_limit" in reason for reason in outcome.reasons)


@pytest.mark.parametrize(
    ("read", "topic"),
    [
        ({"topic": "m/{machine}/{signal}", "payload": "number", "adopt": True}, "m/m1/s%d"),
        ({"topic": "m/{machine}/{tool}", "payload": "number", "signals": [{"name": "x"}]}, "m/m1/t%d"),
    ],
)
async def test_series_without_end(tmp_path: Path, read: dict[str, Any], topic: str) -> None:
    """B7: names and tags that topics choose make so many series and no more; the others are refused, each by its topic."""
    payloads = [(topic % number, b"1") for number in range(1_000)]
    outcome = await through(tmp_path, [*payloads, *payloads[:10]], read, limit=100)
    with JournalReader(tmp_path / "buffer.sqlite") as reader:
        assert reader.registry.version == 100
    assert outcome.account.journaled == 110
    assert outcome.account.refused == 900


async def test_a_new_connection_is_no_new_allowance() -> None:
    """B7: the limit is that of the source, and not of one life of its connection."""
    shop = Shop(1)
    source = shop.source(
        {"topic": "m/{machine}/{signal}", "payload": "number", "adopt": True}, adopt_limit=10
    )
    for life in range(5):
        routes, sheet = Routes(source._readings, source._bench, source._adopted), Sheet()
        for number in range(10):
            name = b"m/m1/s%d-%d" % (life, number)
            routes.read(Message(name, b"1", 1, 1, False, False, T0, 1), T0, sheet)
    assert shop.registry.version == 10


async def test_equal_times_with_different_values(tmp_path: Path) -> None:
    """B8: both are kept, a nanosecond apart and in their order; the same value again is a repetition."""
    payloads = [b'{"t": %d, "v": %d}' % (T0, value) for value in (1, 2, 3, 2, 1)]
    read = {**read_json(X), "payload": {"type": "json", "time": "t", "time_unit": "ns"}}
    outcome = await through(tmp_path, payloads, read)
    assert [(row.at - T0, row.value) for row in outcome.rows] == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert outcome.account.filtered == {"duplicate": 2}
