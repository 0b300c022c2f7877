"""`verify` finds each of: a dropped value, an added one, a changed digit, a shifted time; in each format; and nothing where nothing is."""

from __future__ import annotations

import asyncio
import io
import json
import math
import socket
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.history.table import SCHEMA
from collector.export import write_table
from simulators.cli import main
from simulators.verify.sequences import Step, align
from tests.influxdb.peers import Server, influxd

BASE = 1_767_225_600_000_000_000
FORMATS = ("csv", "jsonl", "parquet")
CLEAN = {"missing": 0, "spurious": 0, "altered": 0, "late": 0, "explained": 0, "repeated": 0}


class Value(NamedTuple):
    machine: str
    signal: str
    t: int | None
    value: Any
    quality: int = 0


KINDS: Mapping[str, st.SearchStrategy[Any]] = {
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "unsigned": st.integers(0, 2**64 - 1),
    "flag": st.booleans(),
    "text": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
}


@st.composite
def recordings(draw: st.DrawFn) -> list[Value]:
    """Values of a few signals, each of one kind, at times of their own."""
    found = []
    for kind, values in KINDS.items():
        for machine in draw(st.sampled_from((("m1",), ("m1", "m2")))):
            times = draw(st.lists(st.integers(0, 10**9), min_size=1, max_size=6, unique=True))
            found += [Value(machine, kind, BASE + t * 10, draw(values)) for t in sorted(times)]
    return found


def write_truth(path: Path, values: Sequence[Value], *more: Mapping[str, Any]) -> Path:
    rows = [
        {"kind": "value", "machine": v.machine, "signal": v.signal, "t": v.t, "value": v.value}
        for v in values
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*more, *rows]))
    return path


def table(values: Sequence[Value]) -> Any:
    """What the history holds: every value in the column of its kind, which here is the signal's name."""
    rows = []
    for value in values:
        row: dict[str, Any] = {field.name: None for field in SCHEMA}
        row |= {
            "seq": 1,
            "machine": value.machine,
            "signal": value.signal,
            "at": value.t,
            "received": value.t,
        }
        row |= {"quality": value.quality, "flags": 0, "unit": "", "tags": "{}"}
        row[value.signal if value.signal in KINDS else _kind(value.value)] = value.value
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _kind(value: Any) -> str:
    return {bool: "flag", int: "integer", float: "number", str: "text"}[type(value)]


def verify(*arguments: str) -> tuple[int, dict[str, int], str]:
    """Exit code, numbers and words."""
    out, words = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(words):
        code = main(["verify", *arguments, "--json"])
    numbers = json.loads(out.getvalue()) if out.getvalue() else {}
    assert all(type(number) is int for number in numbers.values())
    return code, numbers, words.getvalue()


def check(sent: Sequence[Value], stored: Sequence[Value], ending: str) -> tuple[int, dict[str, int], str]:
    with tempfile.TemporaryDirectory() as folder:
        truth = write_truth(Path(folder) / "truth.jsonl", sent)
        data = Path(folder) / f"data.{ending}"
        write_table(table(stored), data, io.StringIO())
        return verify(str(truth), "--against", str(data))


def changed(value: Any) -> Any:
    """The smallest change there is."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value - 1 if value > 0 else value + 1
    if isinstance(value, float):
        return math.nextafter(value, 0.0) if value else 5e-324
    return value + "x"


many = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.mark.parametrize("ending", FORMATS)
class TestFiles:
    @many
    @given(sent=recordings())
    def test_an_honest_run_is_clean(self, ending: str, sent: list[Value]) -> None:
        code, found, _ = check(sent, sent, ending)
        assert (code, found) == (0, {**CLEAN, "expected": len(sent), "found": len(sent)})

    @many
    @given(sent=recordings(), data=st.data())
    def test_a_dropped_value(self, ending: str, sent: list[Value], data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(sent) - 1))
        code, found, words = check(sent, sent[:place] + sent[place + 1 :], ending)
        assert (code, found) == (1, {**CLEAN, "missing": 1, "expected": len(sent), "found": len(sent) - 1})
        assert f"{sent[place].machine} {sent[place].signal} at 2026" in words

    @many
    @given(sent=recordings(), data=st.data())
    def test_an_added_value(self, ending: str, sent: list[Value], data: st.DataObject) -> None:
        like = data.draw(st.sampled_from(sent))
        t = data.draw(st.integers(0, 10**10).filter(lambda t: all(t + BASE != each.t for each in sent)))
        code, found, _ = check(sent, [*sent, like._replace(t=BASE + t)], ending)
        assert (code, found) == (1, {**CLEAN, "spurious": 1, "expected": len(sent), "found": len(sent) + 1})

    @many
    @given(sent=recordings(), data=st.data())
    def test_a_changed_digit(self, ending: str, sent: list[Value], data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(sent) - 1))
        wrong = sent[place]._replace(value=changed(sent[place].value))
        code, found, words = check(sent, [*sent[:place], wrong, *sent[place + 1 :]], ending)
        assert (code, found) == (1, {**CLEAN, "altered": 1, "expected": len(sent), "found": len(sent)})
        assert "stored with another value" in words

    @many
    @given(sent=recordings(), data=st.data())
    def test_a_shifted_time(self, ending: str, sent: list[Value], data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(sent) - 1))
        by = data.draw(st.sampled_from((-1, 1, 7, 10**9 + 1, -(10**9) - 1)))  # times are multiples of ten
        t = sent[place].t
        assert t is not None
        code, found, _ = check(
            sent, [*sent[:place], sent[place]._replace(t=t + by), *sent[place + 1 :]], ending
        )
        assert (code, found) == (1, {**CLEAN, "late": 1, "expected": len(sent), "found": len(sent)})

    def test_a_bad_value_is_no_value(self, ending: str) -> None:
        sent = [Value("m", "number", BASE, 1.5), Value("m", "number", BASE + 1, 2.5)]
        stored = [sent[0], sent[1]._replace(quality=0x80000000)]
        assert check(sent, stored, ending)[1]["missing"] == 1

    def test_two_values_at_one_time_are_both_stored_and_twice_the_same_is_one_fact(self, ending: str) -> None:
        sent = [Value("m", "number", BASE, value) for value in (1.0, 2.0, 1.0, 3.0)]
        stored = [Value("m", "number", BASE + moved, value) for moved, value in enumerate((1.0, 2.0, 3.0))]
        assert check(sent, stored, ending)[0] == 0
        assert check(sent, stored[::2], ending)[0] == 1

    def test_too_far_away_is_lost_and_not_late(self, ending: str) -> None:
        sent = [Value("m", "number", BASE, 1.0)]
        found = check(sent, [Value("m", "number", BASE + 61 * 10**9, 1.0)], ending)[1]
        assert (found["missing"], found["spurious"], found["late"]) == (1, 1, 0)

    def test_gap_records_explain_what_is_missing_in_them_and_nothing_else(
        self, ending: str, tmp_path: Path
    ) -> None:
        sent = [Value(machine, "number", BASE + n, 1.0 + n) for machine in ("m1", "m2") for n in range(10)]
        gap = {"from": BASE + 3, "to": BASE + 5}
        own = [Value("collector", f"gap.line.{name}", BASE + 3, value) for name, value in gap.items()]
        stored = [v for v in sent if v.t is not None and not 3 <= v.t - BASE <= 6]
        start = {"kind": "start", "machines": [{"machine": "m1", "type": "x", "source": "line"}]}
        truth, data = write_truth(tmp_path / "t", sent, start), tmp_path / f"data.{ending}"
        write_table(table([*stored, *own]), data, io.StringIO())
        code, found, words = verify(str(truth), "--against", str(data))
        assert (code, found["explained"], found["missing"], found["found"]) == (1, 3, 5, 12)
        assert "3 of 8 lost values (37.5 %)" in words
        found = verify(str(truth), "--against", str(data), "--source", "line=m1,m2")[1]
        assert (found["explained"], found["missing"]) == (6, 2)


def test_what_the_collector_says_again_is_neither_spurious_nor_a_value_that_came_late() -> None:
    """At a time at which it says so, and only what the machine once said: added values, altered ones and other times are found."""
    sent = [
        Value("m1", "number", BASE, 1.5),
        Value("m1", "number", BASE + 10**9, 2.5),
        Value("m1", "flag", BASE, True),
    ]
    at = BASE + 2 * 10**9
    said = Value("collector", "restated.plc", at, True)
    again = [Value("m1", "number", at, 2.5), Value("m1", "flag", at, True)]
    for stored, wrong in (
        ([*sent, said, *again], {}),
        ([*sent, *again], {"spurious": 2}),
        ([*sent, said, Value("m1", "number", at, 3.5)], {"spurious": 1}),
        ([*sent, said, *again, Value("m1", "number", at + 1, 2.5)], {"spurious": 1}),
        ([sent[0], sent[2], said, *again], {"missing": 1}),
    ):
        _, found, words = check(sent, stored, "jsonl")
        assert {name: found[name] for name in ("missing", "spurious", "altered", "late")} == {
            "missing": 0,
            "spurious": 0,
            "altered": 0,
            "late": 0,
            **wrong,
        }, words


def test_gap_records_from_a_file(tmp_path: Path) -> None:
    sent = [Value("m1", "number", BASE + n, 1.0) for n in range(10)]
    truth, data, gaps = write_truth(tmp_path / "t", sent), tmp_path / "d.jsonl", tmp_path / "gaps.jsonl"
    write_table(table(sent[4:]), data, io.StringIO())
    arguments = (str(truth), "--against", str(data), "--gaps", str(gaps))
    gaps.write_text(
        json.dumps({"source": "m1", "from": "2026-01-01T00:00:00Z", "to": BASE + 3, "reason": "r"})
    )
    assert verify(*arguments)[1]["explained"] == 4
    assert verify(*arguments)[0] == 0
    gaps.write_text(json.dumps({"source": "broker", "from": BASE, "to": BASE + 3, "reason": "r", "count": 4}))
    code, found, words = verify(*arguments)
    assert (code, found["missing"], found["explained"]) == (1, 4, 0)
    assert "broker excuse nothing" in words
    gaps.write_text(json.dumps({"source": "broker", "machines": ["m1"], "from": BASE, "to": BASE + 1}))
    assert verify(*arguments)[1]["explained"] == 2
    gaps.write_text('{"source": "broker"}\n')
    assert verify(*arguments)[0] == 2


def bare(
    tmp_path: Path, sent: Sequence[Any], stored: Sequence[Any], *more: str
) -> tuple[int, dict[str, int]]:
    truth = write_truth(tmp_path / "t", [Value("m", "mode", None, value) for value in sent])
    rows = [
        {"t": BASE + n * 1000, "machine": "m", "signal": "mode", "value": v} for n, v in enumerate(stored)
    ]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, found, _ = verify(str(truth), "--against", str(tmp_path / "d.jsonl"), *more)
    return code, {
        name: found[name] for name in ("missing", "spurious", "altered", "late", "repeated") if found[name]
    }


def test_chosen_machines_alone_are_compared(tmp_path: Path) -> None:
    """What others lack or add is not counted, and gap records count as before."""
    rows = [Value("mill", "x", t, t) for t in (10, 20, 30)]
    truth = write_truth(
        tmp_path / "truth.jsonl", [*rows, Value("oven", "x", 10, 1), Value("arm", "x", 10, 1)]
    )
    data = tmp_path / "data.csv"
    lines = ["time,machine,signal,value", "10,mill,x,10", "30,mill,x,30", "77,oven,x,5", "10,arm,x,1"]
    data.write_text("\n".join(lines) + "\n")
    gaps = tmp_path / "gaps.jsonl"
    gaps.write_text('{"machine": "mill", "from": 15, "to": 25}')
    only = ("--machine", "mill", "--machine", "arm", "--gaps", str(gaps))
    code, found, _ = verify(str(truth), "--against", str(data), *only)
    assert (code, found) == (0, {**CLEAN, "expected": 4, "found": 3, "explained": 1})
    assert verify(str(truth), "--against", str(data))[0] == 1


@pytest.mark.parametrize(("stored", "spurious"), [("nan", 0), ("3.5", 1)])
def test_nan_is_no_value_on_either_side(tmp_path: Path, stored: str, spurious: int) -> None:
    """The truth has null for it; a NaN in the place of a number is that number missing."""
    truth = write_truth(tmp_path / "truth.jsonl", [Value("m", "x", 10, None), Value("m", "x", 20, 2.5)])
    data = tmp_path / "data.csv"
    data.write_text(f"time,machine,signal,value,kind\n10,m,x,{stored},number\n20,m,x,2.5,number\n")
    _, found, _ = verify(str(truth), "--against", str(data))
    assert (found["missing"], found["spurious"]) == (0, spurious)
    data.write_text("time,machine,signal,value,kind\n20,m,x,nan,number\n")
    assert verify(str(truth), "--against", str(data))[1]["missing"] == 1


def test_values_without_a_time_are_compared_in_order(tmp_path: Path) -> None:
    sent = list("abcdefghij")
    assert bare(tmp_path, sent, sent) == (0, {})
    assert bare(tmp_path, sent, list("abdefghij")) == (1, {"missing": 1})
    assert bare(tmp_path, sent, list("abcdexfghij")) == (1, {"spurious": 1})
    assert bare(tmp_path, sent, list("abcdexghij")) == (1, {"altered": 1})
    assert bare(tmp_path, sent, list("abcdefghi")) == (1, {"missing": 1})
    assert bare(tmp_path, sent, list("abcdefbcdefghij")) == (1, {"spurious": 5})
    assert bare(tmp_path, sent, list("abcdefbcdefghij"), "--allow-repeats") == (0, {"repeated": 5})
    assert bare(tmp_path, sent, list("abcdexefghij"), "--allow-repeats")[0] == 1


@given(st.lists(st.integers(), unique=True, min_size=1, max_size=80), st.data())
def test_one_difference_in_a_sequence_is_one_difference(sent: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(sent) - 1))
    without = sent[:place] + sent[place + 1 :]
    assert list(align(sent, without)) == [Step("missing", place, place)]
    assert list(align(without, sent)) == [Step("spurious", place, place)]
    other = [*sent[:place], max(sent) + 1, *sent[place + 1 :]]
    assert list(align(sent, other)) == [Step("altered", place, place)]


@given(st.lists(st.sampled_from("ab")), st.lists(st.sampled_from("ab")))
def test_any_two_sequences_are_accounted_for(sent: list[str], stored: list[str]) -> None:
    steps = list(align(sent, stored))
    missing, spurious = (sum(step.sort == sort for step in steps) for sort in ("missing", "spurious"))
    assert len(sent) - missing == len(stored) - spurious
    assert (not steps) == (sent == stored)


def test_what_cannot_be_compared_is_said_and_is_no_verdict(tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "t", [Value("m", "number", BASE, 1.0)])
    (tmp_path / "d.csv").write_text("a,b\n1,2\n")
    (tmp_path / "d.parquet").write_bytes(b"nonsense")
    (tmp_path / "d.jsonl").write_text("nonsense\n")
    for data in (
        "d.csv",
        "d.parquet",
        "d.jsonl",
        "none.csv",
        "t",
        "http://127.0.0.1:1?db=x",
        "ftp://h?db=x",
        "http://h:port?db=x",
    ):
        place = data if "://" in data else str(tmp_path / data)
        code, found, words = verify(str(truth), "--against", place)
        assert (code, found) == (2, {}), data
        assert words.startswith("simulators: ")
    assert verify(str(tmp_path / "nothing"), "--against", str(tmp_path / "d.csv"))[0] == 2


def test_a_truth_that_was_killed_in_its_last_line_counts_up_to_it(tmp_path: Path) -> None:
    truth = write_truth(
        tmp_path / "t", [Value("m", "number", BASE, 1.0), Value("m", "number", BASE + 1, 2.0)]
    )
    truth.write_text(truth.read_text()[:-4])
    write_table(table([Value("m", "number", BASE, 1.0)]), tmp_path / "d.csv", io.StringIO())
    assert verify(str(truth), "--against", str(tmp_path / "d.csv"))[0] == 0


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Server]:
    server = influxd(tmp_path)
    asyncio.run(server.start())
    ask(server, "query?q=CREATE%20DATABASE%20shop", b"")
    yield server
    asyncio.run(server.stop())


def ask(server: Server, path: str, body: bytes) -> None:
    with urllib.request.urlopen(
        urllib.request.Request(f"{server.url}/{path}", data=body), timeout=90
    ) as answer:
        answer.read()


def fields(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{value}i" if isinstance(value, int) else repr(value)


def test_each_difference_in_a_real_influxdb(influx: Server, tmp_path: Path) -> None:
    values = {"load": 41.7, "count": 2**53 + 1, "on": True, "program": 'a "b" \\ c'}
    sent = [
        Value("m 1", name, BASE + n * 1_000_001, value) for n in range(50) for name, value in values.items()
    ]
    truth = write_truth(
        tmp_path / "t", sent, {"kind": "start", "machines": [{"machine": "m 1", "source": "line"}]}
    )
    place = influx.url.replace("http://", "influxdb://") + "?db=shop"

    def store(value: Value, t: int | None = None) -> None:
        line = f"mill,machine={value.machine.replace(' ', chr(92) + ' ')} {value.signal}={fields(value.value)} {t or value.t}"
        ask(influx, "write?db=shop", line.encode())

    def found() -> dict[str, int]:
        numbers = verify(str(truth), "--against", place)[1]
        return {name: numbers[name] for name in CLEAN if numbers[name]}

    for value in sent:
        store(value)
    store(Value("collector", "connected", BASE, True))  # the collector's own points are no machine's
    ask(influx, "write?db=shop", f'quality,machine=m\\ 1,signal=load code=0i,name="Good" {BASE}'.encode())
    assert verify(str(truth), "--against", place)[0] == 0
    assert found() == {}
    store(sent[8]._replace(value=41.70000000000001))
    assert found() == {"altered": 1}
    store(sent[8])
    store(sent[8], BASE + 5)
    assert found() == {"spurious": 1}
    ask(influx, f"query?db=shop&q=DELETE%20FROM%20mill%20WHERE%20time={BASE + 5}", b"")
    assert found() == {}
    t = sent[8].t
    ask(influx, f"query?db=shop&q=DELETE%20FROM%20mill%20WHERE%20time={t}", b"")
    assert found() == {"missing": 4}
    for value in sent[8:12]:
        store(value, BASE + 7)
    assert found() == {"late": 4}
    ask(influx, f"query?db=shop&q=DELETE%20FROM%20mill%20WHERE%20time={BASE + 7}", b"")
    gap = f'collector_gap,machine=collector,source=line reason="r",from={t}i,to={t}i {t}'
    ask(influx, "write?db=shop", gap.encode())
    assert found() == {"explained": 4}


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(
    "text", ["\r", "a\r\nb", "\n", "a,b", '"', "", "[1]", "true", "NaN", " 5 ", "\u2028"]
)
def test_any_text_survives_the_way_through_a_file(ending: str, text: str) -> None:
    sent = [Value("m", "text", BASE, text), Value("m", "text", BASE + 1, "next")]
    assert check(sent, sent, ending)[0] == 0


@pytest.mark.parametrize(
    ("sent", "stored", "same"),
    [
        (True, 1, False), (1, True, False), ("1", 1, False), (0, "", False), (2**64 - 1, -1, False), (False, 0, False),
        (5, 5.0, True), (5.0, 5, True), (2**53 + 1, float(2**53), False), (1e300, 1e300, True), (0.1 + 0.2, 0.3, False),
        ([1, 2.5], [1.0, 2.5], True), ([1.0], "[1]", True), ("[x", "[x", True), ("a", "a ", False), (2.0**63, 2**63, True),
    ],
)  # fmt: skip
def test_what_is_the_same_value(tmp_path: Path, sent: Any, stored: Any, same: bool) -> None:
    truth = write_truth(tmp_path / "t", [Value("m", "x", BASE, sent)])
    (tmp_path / "d.jsonl").write_text(
        json.dumps({"t": BASE, "machine": "m", "signal": "x", "value": stored}) + "\n"
    )
    code, found, _ = verify(str(truth), "--against", str(tmp_path / "d.jsonl"))
    assert (code, found["altered"]) == ((0, 0) if same else (1, 1))


HALF = '{"kind":"value","machine":"m","signal":"s","t":1,"value":"Störung"}\n'.encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"time,machine,signal,value\n2026-01-01T00:00:00Z,m,s,\xfc\n", "no text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0", "no text in UTF-8"),
        (b"time,machine,signal,value\n1,m,s,99999999999999999999\n", "m s: more than 64 bits"),
        (b"time,machine,signal,value\n9999999999999999999,m,s,1\n", "m s: more than 64 bits"),
    ],
)
def test_data_that_is_none_is_said_in_words(
    data: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, file = write_truth(tmp_path / "t", []), tmp_path / "d.csv"
    file.write_bytes(data)
    assert main(["verify", str(truth), "--against", str(file)]) == 2
    assert words in capsys.readouterr().err


def test_a_last_line_that_ends_within_a_letter_is_left_out(tmp_path: Path) -> None:
    """A simulator and a writer that were killed there."""
    truth, data = tmp_path / "t", tmp_path / "d.jsonl"
    torn = HALF[: HALF.index("ö".encode()) + 1]
    row = '{"time":1,"machine":"m","signal":"s","value":"Störung"}\n'.encode()
    truth.write_bytes(HALF + torn)
    data.write_bytes(row + row[: row.index("ö".encode()) + 1])
    assert main(["verify", str(truth), "--against", str(data)]) == 0


@pytest.mark.parametrize(
    "row", [b'{"kind":"refresh","t":1,"conditions":[{}]}', b'{"kind":"start","machines":[{}]}']
)
def test_half_a_row_of_the_truth_is_said_in_words(
    row: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, data = tmp_path / "t", tmp_path / "d.jsonl"
    truth.write_bytes(row + b"\n")
    data.write_bytes(b"")
    assert main(["verify", str(truth), "--against", str(data)]) == 2
    assert "is not whole" in capsys.readouterr().err


@pytest.mark.parametrize("gap", [b'{"source":"m","from":1,"to":"\xfc"}', b'{"machines":5,"from":1,"to":2}'])
def test_a_gap_that_is_none_is_said_in_words(
    gap: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, data, gaps = write_truth(tmp_path / "t", []), tmp_path / "d.jsonl", tmp_path / "g.jsonl"
    data.write_bytes(b"")
    gaps.write_bytes(gap)
    assert main(["verify", str(truth), "--against", str(data), "--gaps", str(gaps)]) == 2
    assert "a gap needs" in capsys.readouterr().err


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{",  # gone in the middle of a piece
        b"",  # gone before a word
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]",  # another program on that port
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xff",
    ],
)
def test_a_database_that_goes_while_it_answers_is_said_in_words(
    answer: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve() -> None:
        connection, _ = door.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=serve)
        thread.start()
        place = f"http://127.0.0.1:{door.getsockname()[1]}?db=x"
        assert main(["verify", str(write_truth(tmp_path / "t", [])), "--against", place]) == 2
        thread.join()
    assert "database 'x' does not answer" in capsys.readouterr().err
