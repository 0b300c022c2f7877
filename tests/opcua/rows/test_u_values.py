"""What single values are: every quality, impossible times, types that change under way."""

from __future__ import annotations

import time
from typing import Any

import pytest
from asyncua.ua import status_codes

from adapters.clock import SystemClock
from pipelines import quality
from pipelines.batch import Flag
from tests.opcua import encoder as enc
from tests.opcua.encoder import DataValue, Null, Scalar
from tests.opcua.rows.bed import START, Bed, value
from tests.opcua.scripted import DOUBLE, INT32, Variable

CODES = sorted(status_codes.code_to_name_doc)
"""The list is the library's; what the numbers mean is OPC 10000-4, 7.39: the two top bits are the severity."""
INT16 = 4
DAY = 86_400 * 10**9
YEAR = 365 * DAY
YEAR_9999 = 2_650_467_743_990_000_000  # ticks, 9999-12-31T23:59:59 (OPC 10000-6, 5.2.2.5)


async def test_u13_every_status_code_is_kept_as_it_is(bed: Bed) -> None:
    """U13: all known codes and some unknown ones: number and class; nothing bad or uncertain passes for good."""
    strange = [0x00990000, 0x40FF0000, 0x8FFF0000, 0xC0000000, 0xFFFFFFFF, 0x80000480, 0x00000401]
    codes = [*CODES, *strange]
    assert len(CODES) >= 274
    bed.variable("a", Variable(value=value(0)))
    bed.variable("silent", Variable(value=value(0)))
    async with bed.line() as line:
        await line.until(lambda: len(line.rows) == 2, "the first values")
        for number, code in enumerate(codes, 1):
            bed.server.emit("a", value(number, number, code))
            bed.server.emit("silent", DataValue(Null(), code, enc.ticks(START + 100 * number)))
        await line.until(lambda: len(line.rows) == 2 + 2 * len(codes), "all of them are stored")
        await line.stop()
        assert [row.quality for row in line.rows if row.signal == "a"][1:] == codes
        blank = [row for row in line.rows if row.signal == "silent"][1:]
        assert all(row.flags & Flag.NO_VALUE for row in blank)
        for code, row in zip(codes, [row for row in line.rows if row.signal == "a"][1:], strict=True):
            assert quality.class_of(row.quality) == ("good", "uncertain", "bad", "bad")[code >> 30]
        false_good = [
            row
            for row, code in zip(blank, codes, strict=True)
            if code >> 30 and quality.class_of(row.quality) == "good"
        ]
        assert false_good == []
        assert (await line.ledger()).unaccounted == 0


NOW = time.time_ns() // 100 * 100
TIMES: dict[str, tuple[int | None, bool]] = {
    "missing": (None, False),
    "zero": (0, False),
    "1601": (1, False),
    "9999": (YEAR_9999, False),
    "largest": (2**63 - 1, False),
    "1970": (enc.ticks(0), False),
    "future +2 d": (enc.ticks(NOW + 2 * DAY), False),
    "future +1 h": (enc.ticks(NOW + 3600 * 10**9), True),
    "past -10 y": (enc.ticks(NOW - 10 * YEAR), True),
    "now": (enc.ticks(NOW), True),
}
"""Ticks, and whether the time can be believed."""


@pytest.mark.parametrize("source", TIMES)
async def test_u14_the_first_time_that_can_be(bed: Bed, source: str) -> None:
    """U14: order source, server, receive; what is impossible is replaced and flagged, what is odd is kept."""
    bed.variable("a", Variable(value=DataValue(Scalar(DOUBLE, 0.0), source=enc.ticks(NOW - DAY))))
    async with bed.line() as line:
        await line.until(lambda: len(line.rows) == 1, "the first value")
        before = SystemClock().now()
        for number, server in enumerate(TIMES, 1):
            bed.server.emit(
                "a", DataValue(Scalar(DOUBLE, float(number)), None, TIMES[source][0], server=TIMES[server][0])
            )
        await line.until(lambda: len(line.rows) == 1 + len(TIMES), "all of them are stored")
        await line.stop()
        after = SystemClock().now()
        assert [row.value for row in line.rows[1:]] == [float(number) for number in range(1, 1 + len(TIMES))]
        for row, server in zip(line.rows[1:], TIMES, strict=True):
            theirs, believed = TIMES[source]
            second, also = TIMES[server]
            if believed and theirs is not None:
                # Several values of one time are kept apart by single nanoseconds (row B8).
                assert 0 <= row.at - _ns(theirs) < len(TIMES), server
                assert not row.flags & Flag.TIME_SUBSTITUTED
            elif also and second is not None:
                assert 0 <= row.at - _ns(second) < len(TIMES), server
                assert row.flags & Flag.TIME_SUBSTITUTED
            else:
                assert before <= row.at <= after + len(TIMES), server
                assert row.flags & Flag.TIME_SUBSTITUTED
        assert len({row.at for row in line.rows}) == len(line.rows)
        assert (await line.ledger()).unaccounted == 0


async def test_u14_an_hour_between_source_and_server_is_kept(bed: Bed) -> None:
    """U14: a server whose clock is an hour off does not change the time of its values."""
    bed.variable("a", Variable(value=DataValue(Scalar(DOUBLE, 0.0), source=enc.ticks(NOW - DAY))))
    async with bed.line() as line:
        await line.until(lambda: len(line.rows) == 1, "the first value")
        for number, hours in enumerate((-1, 1), 1):
            at = NOW + number * 1000
            server = enc.ticks(at + hours * 3600 * 10**9)
            bed.server.emit("a", DataValue(Scalar(DOUBLE, float(number)), None, enc.ticks(at), server=server))
        await line.until(lambda: len(line.rows) == 3, "both are stored")
        await line.stop()
        assert [row.at for row in line.rows[1:]] == [NOW + 1000, NOW + 2000]
        assert (await line.verdict()).clean


def _ns(ticks: int) -> int:
    return (ticks - enc.EPOCH_SECONDS * 10_000_000) * 100


async def test_u16_a_type_that_changes_disturbs_nobody(bed: Bed) -> None:
    """U16: Int16, then Double, then String: what fits the kind of the point is stored, the rest is refused by name."""
    first = DataValue(Scalar(INT16, 1), source=enc.ticks(START))
    bed.variable("changing", Variable(INT16, first))
    bed.variable("steady", Variable(INT32, DataValue(Scalar(6, 1), source=enc.ticks(START))))
    async with bed.line() as line:
        await line.until(lambda: len(line.rows) == 2, "the first values")
        steps: list[tuple[int, Any]] = [
            (INT16, 2),
            (DOUBLE, 3.0),
            (DOUBLE, 4.5),
            (12, "five"),
            (12, "6"),
            (INT16, 7),
        ]
        for number, (kind, cell) in enumerate(steps, 1):
            at = enc.ticks(START + 100 * number)
            bed.server.emit("changing", DataValue(Scalar(kind, cell), None, at))
            bed.server.emit("steady", DataValue(Scalar(6, number), None, at))
            await line.until(lambda n=number: n in line.values("steady"), "the other one runs")  # type: ignore[misc]
        await line.until(lambda: 7 in line.values("changing"), "and this one again")
        await line.stop()
        assert line.values("steady") == [1, *range(1, 7)]
        assert line.values("changing") == [1, 2, 3, 6, 7], "4.5 and five are no whole numbers"
        assert all(type(cell) is int for cell in line.values("changing"))
        ledger = await line.ledger()
        rows = [row for row in line.rows if row.signal == "changing"]
        refused = await line.journal.quarantined()
        assert len(rows) + len(refused) == 1 + len(steps), "each is stored or refused"
        assert {row.quality >> 31 for row in rows if row.flags & Flag.NO_VALUE} <= {1}
        assert ledger.unaccounted == 0
    assert bed.server.record.opened == 1


async def test_u14_what_a_clock_that_jumped_had_yet_to_send_is_in_the_gap(bed: Bed) -> None:
    """U14, U3: ahead for a moment, and a value that was made before the last one came and is lost: the gap begins before it."""
    now = SystemClock().now() // 100 * 100
    bed.variable("a", Variable(value=DataValue(Scalar(DOUBLE, 0.0), source=enc.ticks(now - DAY))))

    def emit(number: int, seconds: int) -> None:
        at = now + seconds * 10**9
        bed.server.emit("a", DataValue(Scalar(DOUBLE, float(number)), None, enc.ticks(at)))

    async with bed.line() as line:
        await line.until(lambda: len(line.rows) == 1, "the first value")
        for number, seconds in ((1, 3600), (2, -10)):
            emit(number, seconds)
            await line.until(lambda n=number: line.values("a")[-1:] == [n], "stored")  # type: ignore[misc]
        await bed.server.stop()
        for number, seconds in ((3, -5), (4, 1)):  # nobody sees the first of the two
            emit(number, seconds)
        await bed.server.start()
        await line.until(lambda: line.values("a")[-1:] == [4.0], "back")
        await line.stop()
        verdict = await line.verdict()
        assert verdict.clean, verdict
        assert verdict.explained == 1
        (gap,) = line.gaps
        assert gap.begins == now - 10 * 10**9, "and not before what was stored"


@pytest.mark.parametrize("ahead", [30 * 10**9, 3600 * 10**9])
@pytest.mark.parametrize("steady", [True, False], ids=["always", "once"])
async def test_u14_a_clock_that_jumped_ahead_hides_no_loss(bed: Bed, ahead: int, *, steady: bool) -> None:
    """U14, U3: the machine's clock is ahead, always or for a moment; then the server restarts: the gap covers what was lost."""
    off = ahead if steady else 0
    bed.variable("a", Variable(value=DataValue(Scalar(DOUBLE, 0.0), source=enc.ticks(NOW - DAY + off))))

    def emit(number: int, extra: int) -> None:
        at = SystemClock().now() // 100 * 100 + extra
        bed.server.emit("a", DataValue(Scalar(DOUBLE, float(number)), None, enc.ticks(at)))

    async with bed.line() as line:
        await line.until(lambda: len(line.rows) == 1, "the first value")
        for number in (1, 2):
            emit(number, ahead)
        emit(3, off)
        await line.until(lambda: line.values("a")[-1:] == [3.0], "stored")
        await bed.server.stop()
        for number in (4, 5):  # nobody sees the first of the two
            emit(number, off)
        await bed.server.start()
        await line.until(lambda: line.values("a")[-1:] == [5.0], "back")
        await line.stop()
        verdict = await line.verdict()
        assert verdict.clean, verdict
        assert verdict.explained == 1
