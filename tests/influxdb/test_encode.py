"""The encoder against a reader written from the specification, and against a real InfluxDB."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.errors import Rejected
from adapters.influxdb import encode, frames
from adapters.influxdb.encode import Encoded, Encoder
from adapters.influxdb.names import Names, clean
from adapters.influxdb.statuscodes import name_of
from pipelines.batch import Batch, Flag, Kind, Point, batch_of
from pipelines.quality import BAD_NO_COMMUNICATION, BAD_NO_DATA, UNCERTAIN
from pipelines.registry import Registry
from tests.contracts.sink import START, Place, contents, difference, write_once
from tests.influxdb.lines import Unsigned, read, read_all
from tests.influxdb.rigs import InfluxV1Rig

TAGS = {"enterprise": "demo", "site": "plant 1", "area": "lab"}


def encoded(
    registry: Registry, batches: Sequence[Batch], *, unsigned: bool = True, template: str = "machine"
) -> Encoded:
    return Encoder(Names(registry, template), unsigned=unsigned).encode(batches)


def values_of(result: Encoded) -> dict[tuple[str, str, int], Any]:
    lines = read_all("\n".join(result.texts))
    return {
        (line.tags["machine"], name, line.at): value
        for line in lines
        if line.measurement != "quality"
        for name, value in line.fields.items()
    }


def quality_of(result: Encoded) -> list[tuple[str, str, int, int, str]]:
    lines = [read(text) for text in result.texts if text.startswith("quality,")]
    return [(x.tags["machine"], x.tags["signal"], x.at, x.fields["code"], x.fields["name"]) for x in lines]


def test_values_of_one_machine_and_time_share_a_line() -> None:
    registry = Registry(
        [
            Point("mill", "speed", Kind.NUMBER, "r/min", TAGS),
            Point("mill", "parts", Kind.INTEGER, "", TAGS),
            Point("mill", "running", Kind.FLAG, "", TAGS),
        ]
    )
    batches = [
        batch_of(Kind.NUMBER, [0, 0], [1, 2], [0.5, 1.5], received=1),
        batch_of(Kind.INTEGER, [1], [1], [7], received=1),
        batch_of(Kind.FLAG, [2], [2], [True], received=1),
    ]
    assert [text for text in encoded(registry, batches).texts if text.startswith("machine")] == [
        r"machine,area=lab,enterprise=demo,machine=mill,site=plant\ 1 speed=0.5,parts=7i 1",
        r"machine,area=lab,enterprise=demo,machine=mill,site=plant\ 1 speed=1.5,running=true 2",
    ]


def test_kinds_are_types() -> None:
    registry = Registry([Point("m", kind.name, kind) for kind in Kind])
    values: list[Any] = [3.0, 3, 2**64 - 1, False, "3", np.array([1.0, 2.5])]
    batches = [
        batch_of(kind, [i], 5, [value], received=1)
        for i, (kind, value) in enumerate(zip(Kind, values, strict=True))
    ]
    stored = values_of(encoded(registry, batches))
    assert stored["m", "NUMBER", 5] == 3.0
    assert isinstance(stored["m", "NUMBER", 5], float)
    assert isinstance(stored["m", "UNSIGNED", 5], Unsigned)
    assert (stored["m", "INTEGER", 5], stored["m", "FLAG", 5], stored["m", "TEXT", 5]) == (3, False, "3")
    assert json.loads(stored["m", "WAVEFORM", 5]) == [1.0, 2.5]


def test_v1_has_no_unsigned_integers() -> None:
    """B2: what is larger than int64 is refused by API v1 alone, before it can spoil a request."""
    registry = Registry([Point("m", "energy", Kind.UNSIGNED)])
    result = encoded(
        registry, [batch_of(Kind.UNSIGNED, [0, 0], [1, 2], [2**63 - 1, 2**63], received=1)], unsigned=False
    )
    assert values_of(result) == {("m", "energy", 1): 2**63 - 1}
    assert [(row.at, row.value) for row in result.unstorable] == [(2, str(2**63))]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_sent(value: float) -> None:
    """B1: NaN and infinity never reach a line, and are accounted for."""
    registry = Registry([Point("m", "load", Kind.NUMBER)])
    result = encoded(registry, [batch_of(Kind.NUMBER, [0, 0], [1, 2], [value, 2.0], received=1)])
    assert values_of(result) == {("m", "load", 2): 2.0}
    assert [row.at for row in result.unstorable] == [1]


def test_a_lone_surrogate_is_refused_and_its_neighbours_are_not() -> None:
    """B5: a text that is no Unicode is refused alone."""
    registry = Registry([Point("m", "program", Kind.TEXT)])
    result = encoded(registry, [batch_of(Kind.TEXT, [0, 0], [1, 2], ["ok", "\ud800"], received=1)])
    assert values_of(result) == {("m", "program", 1): "ok"}
    assert [row.at for row in result.unstorable] == [2]


def test_a_time_that_influxdb_does_not_have_is_refused() -> None:
    registry = Registry([Point("m", "load", Kind.NUMBER)])
    result = encoded(registry, [batch_of(Kind.NUMBER, [0, 0], [-(2**63), 2], [1.0, 2.0], received=1)])
    assert [row.at for row in result.unstorable] == [-(2**63)]
    assert len(quality_of(result)) == 1


def test_names_that_would_become_the_same_are_told_apart() -> None:
    registry = Registry(
        [Point("m", "a/b", Kind.NUMBER), Point("m", "a\\b", Kind.NUMBER), Point("m\\x", "c", Kind.NUMBER)]
    )
    registry.intern(Point("m/x", "d", Kind.NUMBER))
    result = encoded(registry, [batch_of(Kind.NUMBER, [0, 1, 2, 3], 1, [1.0, 2.0, 3.0, 4.0], received=1)])
    assert values_of(result) == {("m", "a/b", 1): 1.0, ("m/x", "c", 1): 3.0}
    assert [row.point for row in result.unstorable] == [1, 3]


def test_a_new_unit_keeps_the_field() -> None:
    registry = Registry([Point("m", "load", Kind.NUMBER, "kW"), Point("m", "load", Kind.NUMBER, "W")])
    result = encoded(registry, [batch_of(Kind.NUMBER, [0, 1], [1, 2], [1.0, 2.0], received=1)])
    assert values_of(result) == {("m", "load", 1): 1.0, ("m", "load", 2): 2.0}


@pytest.mark.parametrize("name", ["time", "_time", "_field", "_measurement", "machine", "area"])
def test_reserved_names_are_moved_out_of_the_way(name: str) -> None:
    registry = Registry([Point("m", name, Kind.NUMBER, "", {"area": "lab", "time": "x"})])
    (line, _) = encoded(registry, [batch_of(Kind.NUMBER, [0], 1, [1.0], received=1)]).texts
    assert read(line).fields == {f"{name}_": 1.0}
    assert read(line).tags == {"area": "lab", "machine": "m", "time_": "x"}


def test_the_same_key_twice_in_a_write_is_the_last_one() -> None:
    registry = Registry([Point("m", "load", Kind.NUMBER), Point("m", "speed", Kind.NUMBER)])
    result = encoded(registry, [batch_of(Kind.NUMBER, [0, 1, 0], 1, [1.0, 5.0, 2.0], received=1)])
    assert values_of(result) == {("m", "load", 1): 2.0, ("m", "speed", 1): 5.0}
    assert result.line(0).values == (2, 1)


def test_the_measurement_is_a_template() -> None:
    registry = Registry(
        [Point("m", "load", Kind.NUMBER, "", {"area": "lab"}), Point("q", "load", Kind.NUMBER)]
    )
    batches = [batch_of(Kind.NUMBER, [0, 1], 1, [1.0, 2.0], received=1)]
    assert [read(x).measurement for x in encoded(registry, batches, template="{area}").texts[:2]] == [
        "lab",
        "machine",
    ]
    assert read(encoded(registry, batches, template="#{machine}").texts[0]).measurement == "_m"
    assert read(encoded(registry, batches, template="qualit{x}y").texts[0]).measurement == "quality_"


class TestQuality:
    @pytest.fixture
    def registry(self) -> Registry:
        return Registry(
            [Point("m", "load", Kind.NUMBER, "", TAGS), Point("m", "speed", Kind.NUMBER, "", TAGS)]
        )

    def rows(self, at: Sequence[int], quality: Sequence[int], points: Sequence[int] | None = None) -> Batch:
        flags = [Flag.NO_VALUE if code == BAD_NO_DATA else 0 for code in quality]
        ids = points or [0] * len(at)
        return batch_of(
            Kind.NUMBER, ids, at, [float(x) for x in at], received=1, quality=quality, flags=flags
        )

    def test_only_changes_are_written_and_only_good_values(self, registry: Registry) -> None:
        codes = [0, 0, UNCERTAIN, UNCERTAIN, BAD_NO_DATA, 0, 0]
        result = encoded(registry, [self.rows(range(7), codes)])
        assert values_of(result) == {("m", "load", at): float(at) for at in (0, 1, 5, 6)}
        assert quality_of(result) == [
            ("m", "load", 0, 0, "Good"),
            ("m", "load", 2, UNCERTAIN, "Uncertain"),
            ("m", "load", 4, BAD_NO_DATA, "BadNoData"),
            ("m", "load", 5, 0, "Good"),
        ]

    def test_memory_lives_from_write_to_write_but_only_when_stored(self, registry: Registry) -> None:
        encoder = Encoder(Names(registry))
        bad = [self.rows([1], [BAD_NO_COMMUNICATION])]
        lost = encoder.encode(bad)
        again = encoder.encode(bad)
        assert quality_of(lost) == quality_of(again) != []
        encoder.settle(again)
        assert quality_of(encoder.encode([self.rows([2], [BAD_NO_COMMUNICATION])])) == []
        assert quality_of(encoder.encode([self.rows([3], [0])])) == [("m", "load", 3, 0, "Good")]

    @given(st.data())
    def test_as_a_plain_loop_would_do_it(self, data: st.DataObject) -> None:
        registry = Registry(
            [Point("m", "load", Kind.NUMBER, "", TAGS), Point("m", "speed", Kind.NUMBER, "", TAGS)]
        )
        encoder, last, at = Encoder(Names(registry)), {0: -1, 1: -1}, 0
        for _ in range(data.draw(st.integers(1, 3))):
            rows = data.draw(
                st.lists(
                    st.tuples(st.integers(0, 1), st.sampled_from([0, UNCERTAIN, BAD_NO_DATA])), min_size=1
                )
            )
            wanted = []
            for point, code in rows:
                at += 1
                if last[point] != code:
                    wanted.append((("load", "speed")[point], at, code))
                last[point] = code
            times = range(at - len(rows) + 1, at + 1)
            result = encoder.encode(
                [self.rows(times, [code for _, code in rows], [point for point, _ in rows])]
            )
            encoder.settle(result)
            assert [(signal, when, code) for _, signal, when, code, _ in quality_of(result)] == wanted

    def test_names_of_codes(self) -> None:
        assert name_of(0) == "Good"
        assert name_of(BAD_NO_COMMUNICATION) == "BadNoCommunication"
        assert name_of(BAD_NO_COMMUNICATION | 0x0480) == "BadNoCommunication"
        assert name_of(0x8FFF0000) == "Bad_0x8FFF0000"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.sampled_from(
    [
        "#",
        " ",
        "a b",
        "a,b",
        "a=b",
        '"',
        "a\\",
        "\\",
        "\\,",
        "time",
        "ü=\u20ac",
        "'",
        "machine,evil=1 x=1 1\nevil y=1",
    ]
)
VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.NUMBER: st.floats(allow_nan=False, allow_infinity=False),
    Kind.INTEGER: st.integers(-(2**63), 2**63 - 1),
    Kind.UNSIGNED: st.integers(0, 2**63 - 1),
    Kind.FLAG: st.booleans(),
    Kind.TEXT: TEXTS,
    Kind.WAVEFORM: st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4).map(np.array),
}


@st.composite
def written(draw: st.DrawFn) -> tuple[Registry, list[Batch]]:
    """A registry with ugly names, and batches of it with unique keys per point."""
    kinds = draw(st.lists(st.sampled_from(list(Kind)), min_size=1, max_size=6))
    registry = Registry()
    for kind in kinds:
        machine, name = draw(NAMES), draw(NAMES)
        tags = draw(st.dictionaries(NAMES, TEXTS, max_size=2))
        if registry.kind_of(machine, name) in (None, kind):
            registry.intern(Point(machine, name, kind, "", tags))
    batches = []
    for point in range(registry.version):
        kind = registry[point].kind
        cells = draw(st.dictionaries(st.integers(0, 3), VALUES[kind], min_size=1, max_size=4))
        batches.append(
            batch_of(
                kind, [point] * len(cells), [START + at for at in cells], list(cells.values()), received=1
            )
        )
    return registry, batches


def plain(value: Any) -> Any:
    return json.dumps(value.tolist()) if isinstance(value, np.ndarray) else value


@given(written())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_reads_back_or_is_refused(drawn: tuple[Registry, list[Batch]]) -> None:
    """B5: every value is in a line that a reader by the specification understands, or refused."""
    registry, batches = drawn
    result = encoded(registry, batches)
    rows = sum(len(batch) for batch in batches)
    lines = [result.line(number) for number in range(len(result.texts))]
    carried = sum(sum(line.values) for line in lines)
    assert carried + len(result.unstorable) == rows
    whole = list(read_all("\n".join(result.texts)))
    assert len(whole) == len(result.texts), "no value makes lines of its own"
    for batch in batches:
        for point, at, value in zip(
            batch.points.tolist(), batch.at.tolist(), batch.values.tolist(), strict=True
        ):
            if any((row.point, row.at) == (point, at) for row in result.unstorable):
                continue
            assert any(_carries(line, registry[point], at, plain(value)) for line in whole)


@given(written(), st.sampled_from(["machine", "{type}", "{area}", "#{machine}", "a b,c={machine}"]))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_nothing_can_be_injected(drawn: tuple[Registry, list[Batch]], template: str) -> None:
    """B5: whatever the names and values: the series are those of the points, and no other field, tag or measurement exists."""
    registry, batches = drawn
    result = encoded(registry, batches, template=template)
    points = [registry[number] for number in range(registry.version)]
    machines = {clean(point.machine) for point in points}
    names = {clean(point.name) for point in points}
    keys = {clean(name) for point in points for name in point.tags} | {"machine", "signal"}
    cells = {clean(text) for point in points for text in point.tags.values()} | machines | names
    measurements = set()
    for line in read_all("\n".join(result.texts)):
        measurements.add(line.measurement)
        assert line.tags["machine"] in machines
        assert {name.rstrip("_") for name in line.tags} <= {name.rstrip("_") for name in keys}
        assert set(line.tags.values()) <= cells
        if line.measurement != "quality":
            assert {name.rstrip("_") for name in line.fields} <= {name.rstrip("_") for name in names}
    assert len(measurements) <= 1 + len(points)
    assert not any("\n" in name for name in measurements)


def _carries(line: Any, point: Point, at: int, value: Any) -> bool:
    if line.at != at or line.tags.get("machine") != clean(point.machine):
        return False
    if isinstance(value, str) and point.kind is Kind.WAVEFORM:
        return any(
            isinstance(cell, str) and cell[:1] == "[" and json.loads(cell) == json.loads(value)
            for cell in line.fields.values()
        )
    return any(
        repr(cell) == repr(value) or (isinstance(cell, Unsigned) and cell == value)
        for cell in line.fields.values()
    )


@pytest.mark.server("influxd")
async def test_everything_survives_a_real_influxdb(tmp_path: Path) -> None:
    """B5: 120 drawn writes with ugly names and texts; what comes back is what was written, and no measurement more."""
    rig = await InfluxV1Rig(tmp_path).start()
    drawn: list[tuple[Registry, list[Batch]]] = []

    @given(written())
    @settings(max_examples=120, database=None, suppress_health_check=[HealthCheck.too_slow])
    def draw(one: tuple[Registry, list[Batch]]) -> None:
        drawn.append(one)

    draw()
    try:
        for number, (registry, batches) in enumerate(drawn):
            await _survives(rig, f"db{number}", registry, batches)
    finally:
        await rig.stop()


async def _survives(rig: InfluxV1Rig, database: str, registry: Registry, batches: list[Batch]) -> None:
    own = rig.sharing(registry, database)
    refused = 0
    try:
        await write_once(own.sink(), batches)
    except Rejected as rejection:
        refused = sum(refusal.values for refusal in rejection.refused)
    series = own.query("SELECT * FROM machine GROUP BY *") if refused < sum(map(len, batches)) else []
    cells = sum(cell is not None for one in series for row in one["values"] for cell in row[1:])
    assert cells == sum(map(len, batches)) - refused, (registry.since(0), batches)
    measurements = {row[0] for one in own.query("SHOW MEASUREMENTS") for row in one["values"]}
    assert measurements <= {"machine", "quality", "collector_canary"}, (
        "no name and no value made a measurement of its own"
    )


@pytest.mark.server("influxd")
async def test_exact_texts_in_a_real_influxdb(tmp_path: Path) -> None:
    """B5: quotes, backslashes, newlines, NUL, emoji: read back from InfluxDB as written."""
    rig = await InfluxV1Rig(tmp_path).start()
    texts = [
        "",
        " ",
        '"',
        "\\",
        '\\"',
        "a\\",
        "\n",
        "a\nb c=1 1",
        "\x00",
        "\t",
        "é€😀",
        "#",
        ",",
        "'",
        "\\n",
        "\u2028",
        "\x7f\x85",
    ]
    point = rig.registry.intern(Point("m", "program", Kind.TEXT))
    batch = batch_of(
        Kind.TEXT, [point] * len(texts), [START + i for i in range(len(texts))], texts, received=1
    )
    try:
        await write_once(rig.sink(), [batch])
        assert difference(contents(rig.registry, [batch]), await rig.stored()) == []
        assert Place("m", "program", START) in await rig.stored()
    finally:
        await rig.stop()


@pytest.mark.server("influxd")
async def test_exact_numbers_in_a_real_influxdb(tmp_path: Path) -> None:
    """B1, B2: doubles and integers of random bits, subnormal ones included, read back as written."""
    rig = await InfluxV1Rig(tmp_path).start()
    bits = np.random.default_rng(2).integers(0, 2**64, 4000, dtype=np.uint64)
    doubles = bits.view(np.float64)
    columns = {
        Kind.NUMBER: doubles[np.isfinite(doubles)],
        Kind.INTEGER: bits.view(np.int64),
        Kind.UNSIGNED: bits >> np.uint64(1),
    }
    batches = []
    for kind, values in columns.items():
        point = rig.registry.intern(Point("m", kind.name, kind))
        at = START + np.arange(len(values))
        batches.append(batch_of(kind, [point] * len(values), at, values, received=1))
    try:
        await write_once(rig.sink(), batches)
        assert difference(contents(rig.registry, batches), await rig.stored()) == []
    finally:
        await rig.stop()


@pytest.mark.parametrize("most", [1, 64])
def test_long_lines_are_the_same_with_and_without_frames(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """What is kept of a long line from write to write changes no byte of it, however often the order of the fields changes."""
    monkeypatch.setattr(frames, "MOST", most)
    registry, generator = Registry(), np.random.default_rng(7)
    points = [
        registry.intern(Point(f"m {n % 2}", f"signal%s ={n}", Kind.NUMBER, tags={"place": f"hall {n % 2}"}))
        for n in range(80)
    ]
    framed, plain = Encoder(Names(registry)), Encoder(Names(registry))
    choices = [generator.permutation(points)[:size] for size in (1, 20, 40, 60, 80)]
    for at in range(30):
        some = [
            batch_of(Kind.NUMBER, choices[n], START + at, choices[n], received=START)
            for n in generator.integers(0, 5, 2)
        ]
        found = framed.encode(some)
        with monkeypatch.context() as patch:
            patch.setattr(encode, "WORTH", 1 << 60)
            wanted = plain.encode(some)
        assert found.texts == wanted.texts
        assert [found.line(n).text() for n in range(len(found.texts))] == wanted.texts
        framed.settle(found)
        plain.settle(wanted)
    assert 0 < len(framed._frames._frames) <= most
