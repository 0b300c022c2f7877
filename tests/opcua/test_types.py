"""What becomes of types that are more than one number: through session, decoder and points, against the scripted server."""

from __future__ import annotations

import struct
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.base import Telling
from pipelines.batch import Flag, Kind
from tests.contracts.rig import eventually
from tests.contracts.source import conserved
from tests.opcua import encoder as enc
from tests.opcua.encoder import Array, DataValue, Null, Scalar
from tests.opcua.opened import opened
from tests.opcua.rows.bed import unanswered
from tests.opcua.scripted import Ignore, Script, Unsupported, Variable
from tests.opcua.scripted.codec.wire import NodeId
from tests.opcua.scripted.space import Ref
from tests.opcua.test_session import START, Bed, Line, begin

STATE_TYPE = 3005  # ns=0 number of the test's own enumeration


def value(content: enc.Value | None, tick: int = 0, status: int | None = None) -> DataValue:
    return DataValue(content, status, enc.ticks(START + 100 * tick))


class Types(Bed):
    def __init__(self) -> None:
        super().__init__()
        self.server.space.tree[NodeId(0, 85)] = []

    async def ended(self) -> None:
        await super().ended()
        assert all(conserved(delivery) for line in self.lines for delivery in line.deliveries)

    def put(self, name: str, content: enc.Value, data_type: int, *, rank: int = -1, **signal: Any) -> None:
        self.variable(name, Variable(data_type, value(content), rank), **signal)

    def emit(self, name: str, content: enc.Value | None, tick: int, status: int | None = None) -> None:
        self.server.emit(name, value(content, tick, status))

    def property(self, below: NodeId, name: str, encoded: bytes) -> None:
        """A property with this encoded Variant as its value."""
        node = NodeId(0, 50_000 + len(self.server.space.own))
        self.server.space.own[node.identifier] = b"\1" + encoded
        self.server.space.tree.setdefault(below, []).append(Ref(node, (0, name), True, 46))

    def node(self, name: str) -> NodeId:
        return self.server.space.node(name)


@pytest.fixture
async def bed() -> AsyncIterator[Types]:
    async for made in opened(Types()):
        yield made


def facts(line: Line) -> dict[str, str]:
    assert isinstance(line.session, Telling)
    return line.session.facts


def localized(*texts: str) -> bytes:
    cells = b"".join(b"\2" + enc.string(text) for text in texts)
    return struct.pack("<Bi", 21 | 0x80, len(texts)) + cells


def enum_value(number: int, text: str) -> bytes:
    return enc.extension(8251, struct.pack("<q", number) + b"\2" + enc.string(text) + b"\0")


def information(namespace: str, number: int, shown: str) -> bytes:
    return b"\x16" + enc.extension(
        889, enc.string(namespace) + struct.pack("<i", number) + b"\2" + enc.string(shown) + b"\0"
    )


UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"


@pytest.mark.parametrize(
    ("content", "data_type", "kind", "expected"),
    [
        (Scalar(21, ("de", "bereit")), 21, Kind.TEXT, "bereit"),
        (Scalar(13, enc.ticks(1_700_000_000_123_456_700)), 13, Kind.TEXT, "2023-11-14T22:13:20.1234567Z"),
        (Scalar(14, uuid.UUID(int=5)), 14, Kind.TEXT, "00000000-0000-0000-0000-000000000005"),
        (Scalar(9, 2**64 - 1), 9, Kind.UNSIGNED, 2**64 - 1),
        (Scalar(8, -(2**63)), 8, Kind.INTEGER, -(2**63)),
        (Scalar(19, 0x80340000), 19, Kind.INTEGER, 0x80340000),
        (Scalar(20, (2, "Name")), 20, Kind.TEXT, "2:Name"),
    ],
)
async def test_scalars(bed: Types, content: enc.Value, data_type: int, kind: Kind, expected: Any) -> None:
    bed.put("x", content, data_type)
    line = await begin(bed)
    await eventually(lambda: line.values("x") == [expected], f"{expected} arrives")
    assert bed.registry.kind_of("m", "x") is kind


@pytest.mark.parametrize("nothing", [Null(), Scalar(21, (None, None)), Scalar(13, 0), Scalar(12, None)])
async def test_a_null_is_a_row_without_value(bed: Types, nothing: enc.Value) -> None:
    bed.put("x", Scalar(21, (None, "a")), 21)
    line = await begin(bed)
    await eventually(lambda: line.values("x") == ["a"], "the first one")
    bed.emit("x", nothing, 1)
    await eventually(lambda: len(line.rows) == 2, "the second one")
    assert line.rows[1].flags & Flag.NO_VALUE


async def test_byte_strings_by_policy(bed: Types) -> None:
    bed.put("shown", Scalar(15, b"\x01\xff"), 15, bytes="hex")
    bed.put("not", Scalar(15, b"\x01"), 15)
    line = await begin(bed)
    await eventually(lambda: line.values("shown") == ["01ff"], "hexadecimal digits")
    assert "m/not" in facts(line)["failed"]
    assert "write `bytes: hex`" in facts(line)["failed"]
    bed.emit("shown", Scalar(15, bytes(5000)), 1)
    await eventually(lambda: len(line.values("shown")) == 2, "a long one")
    assert line.values("shown")[1] == "00" * 4096 + "…"


@pytest.mark.parametrize(
    ("content", "data_type", "expected"),
    [
        (Array(11, [1.5, 2.5]), 11, {"x[0]": 1.5, "x[1]": 2.5}),
        (Array(9, [2**64 - 1]), 9, {"x[0]": 2**64 - 1}),
        (Array(8, [2**53 + 1, -1]), 8, {"x[0]": 2**53 + 1, "x[1]": -1}),
        (Array(1, [True, False]), 1, {"x[0]": True, "x[1]": False}),
        (Array(12, ["a", None]), 12, {"x[0]": "a", "x[1]": None}),
        (
            Array(6, [1, 2, 3, 4, 5, 6], (2, 3)),
            6,
            {f"x[{r},{c}]": 3 * r + c + 1 for r in (0, 1) for c in (0, 1, 2)},
        ),
    ],
)
async def test_elements_are_signals(
    bed: Types, content: enc.Value, data_type: int, expected: dict[str, Any]
) -> None:
    bed.put("x", content, data_type, rank=0, array="elements")
    line = await begin(bed)
    await eventually(lambda: len(line.rows) == len(expected), "all elements")
    assert {row.signal: None if row.flags & Flag.NO_VALUE else row.value for row in line.rows} == expected
    assert not line.refused
    assert {row.at for row in line.rows} == {START}


async def test_elements_know_what_is_bad(bed: Types) -> None:
    bed.put("x", Array(11, [1.0, 2.0]), 11, rank=1, array="elements")
    line = await begin(bed)
    await eventually(lambda: len(line.rows) == 2, "both elements")
    bed.emit("x", None, 1, 0x80050000)
    await eventually(lambda: len(line.rows) == 4, "both elements again")
    assert [(r.signal, r.quality, r.at) for r in line.rows[2:]] == [
        (f"x[{n}]", 0x80050000, START + 100) for n in (0, 1)
    ]
    assert all(r.flags & Flag.NO_VALUE for r in line.rows[2:])


async def test_an_array_that_grows_beyond_its_limit_is_refused_by_name(bed: Types) -> None:
    bed.put("x", Array(11, [1.0]), 11, rank=1, array="elements", max_elements=2)
    bed.put("y", Scalar(11, 5.0), 11)
    line = await begin(bed)
    await eventually(lambda: len(line.rows) == 2, "the first values")
    bed.emit("x", Array(11, [1.0, 2.0, 3.0]), 1)
    bed.emit("x", Array(11, []), 2)
    bed.emit("y", Scalar(11, 6.0), 3)
    await eventually(lambda: line.values("y") == [5.0, 6.0], "the rest goes on")
    assert [refusal.reason for refusal in line.refused] == ["an array of 3 elements, and max_elements is 2"]


@pytest.mark.parametrize(
    ("content", "signal", "words"),
    [
        (Array(1, [True]), {}, "an array of anything but numbers: write `array: elements`"),
        (Array(11, [1.0] * 4, (2, 2)), {}, "a matrix: write `array: elements`"),
        (Array(11, [1.0]), {"array": "refuse"}, "the configuration says `array: refuse`"),
        (Array(11, [1.0] * 3), {"array": "elements", "max_elements": 2}, "an array of 3 elements"),
        (Array(15, [b"x"]), {"array": "elements"}, "write `bytes: hex`"),
        (Array(11, [1.0] * 4, (2, 3)), {"array": "elements"}, "says that it is (2, 3)"),
        (enc.Structure(b"x"), {}, "of a type that the server does not describe (ns=3;i=5001)"),
        (enc.Structure(b"x"), {"structure": "refuse"}, "the configuration says `structure: refuse`"),
    ],
)
async def test_what_is_not_asked_for_is_said_by_name(
    bed: Types, content: enc.Value, signal: dict[str, Any], words: str
) -> None:
    bed.put("x", content, 24, rank=-2, **signal)
    line = await begin(bed)
    assert words in facts(line)["failed"]


@pytest.mark.parametrize("where", ["EnumStrings", "EnumValues", "definition", "own"])
async def test_an_enumeration_has_names(bed: Types, where: str) -> None:
    bed.put("state", Scalar(6, 1), STATE_TYPE if where != "own" else 7)
    kind = NodeId(0, STATE_TYPE) if where != "own" else bed.node("state")
    if where == "EnumValues":
        cells = [enum_value(1, "Running"), enum_value(7, "Fault")]
        bed.property(kind, where, struct.pack("<Bi", 22 | 0x80, 2) + b"".join(cells))
    elif where == "definition":
        fields = [
            struct.pack("<q", n) + b"\0\0" + enc.string(text) for n, text in ((1, "Running"), (7, "Fault"))
        ]
        definition = enc.extension(123, struct.pack("<i", 2) + b"".join(fields))
        bed.server.space.own[STATE_TYPE] = b"\1\x16" + definition
    else:
        bed.property(kind, "EnumStrings", localized("Idle", "Running", "", "", "", "", "", "Fault"))
    line = await begin(bed)
    await eventually(lambda: line.values("state.text") == ["Running"], "the name")
    for tick, number in enumerate((7, 9), 1):
        bed.emit("state", Scalar(6, number), tick)
    bed.emit("state", None, 3, 0x80050000)
    await eventually(lambda: len(line.rows) == 8, "all values")
    assert line.values("state") == [1, 7, 9]
    assert line.values("state.text") == ["Running", "Fault", "9"]
    texts = [row for row in line.rows if row.signal == "state.text"]
    assert [(row.at, row.quality) for row in texts[2:]] == [(START + 200, 0), (START + 300, 0x80050000)]


async def test_names_only_where_they_are_wanted(bed: Types) -> None:
    bed.put("state", Scalar(6, 1), STATE_TYPE, names=False)
    bed.property(NodeId(0, STATE_TYPE), "EnumStrings", localized("Idle", "Running"))
    line = await begin(bed)
    await eventually(lambda: line.values("state") == [1], "the number")
    assert bed.registry.kind_of("m", "state.text") is None


async def test_a_two_state_variable(bed: Types) -> None:
    bed.put("door", Scalar(1, True), 1)
    bed.property(bed.node("door"), "FalseState", b"\x15\2" + enc.string("closed"))
    bed.property(bed.node("door"), "TrueState", b"\x15\2" + enc.string("open"))
    line = await begin(bed)
    await eventually(lambda: line.values("door.text") == ["open"], "its name")


@pytest.mark.parametrize(
    ("said", "unit", "expected"),
    [
        (information(UNECE, int.from_bytes(b"CEL", "big"), "°C"), {}, "CEL"),
        (information(UNECE, 1, "strange"), {}, "strange"),
        (information("urn:vendor", int.from_bytes(b"CEL", "big"), "blobs"), {}, "blobs"),
        (information(UNECE, int.from_bytes(b"CEL", "big"), "°C"), {"unit": "KEL"}, "KEL"),
        (b"\x0c" + enc.string("bar"), {}, ""),
        (enc.variant(Scalar(15, b"\xff")), {}, ""),
    ],
)
async def test_the_unit_of_the_machine(bed: Types, said: bytes, unit: dict[str, Any], expected: str) -> None:
    bed.put("x", Scalar(11, 1.0), 11, **unit)
    bed.property(bed.node("x"), "EngineeringUnits", said)
    line = await begin(bed)
    await eventually(lambda: line.values("x") == [1.0], "the value")
    point = bed.registry.latest("m", "x")
    assert point is not None
    assert bed.registry[point].unit == expected


async def test_units_of_many_are_two_requests(bed: Types) -> None:
    for n in range(50):
        bed.put(f"x{n}", Scalar(11, 1.0), 11)
        bed.property(
            bed.node(f"x{n}"), "EngineeringUnits", information(UNECE, int.from_bytes(b"CEL", "big"), "°C")
        )
    line = await begin(bed)
    await eventually(lambda: len(line.rows) == 50, "all values")
    assert bed.server.record.requests.count("Browse") == 1
    assert {bed.registry[n].unit for n in range(bed.registry.version)} == {"CEL"}


@pytest.mark.parametrize("script", [Unsupported(["Browse", "TransferSubscriptions"]), Ignore("Browse")])
async def test_a_server_that_lets_nobody_look_around_costs_units_and_no_values(
    bed: Types, script: Script
) -> None:
    bed.server.scripts.append(script)
    bed.put("x", Scalar(11, 1.0), 11)
    line = await (unanswered(begin(bed), script) if isinstance(script, Ignore) else begin(bed))
    await eventually(lambda: line.values("x") == [1.0], "the value")


async def test_check_says_what_it_found(bed: Types) -> None:
    bed.put("x", Scalar(11, 1.0), 11)
    bed.property(bed.node("x"), "EngineeringUnits", information(UNECE, int.from_bytes(b"CEL", "big"), "°C"))
    bed.property(bed.node("x"), "EURange", b"\x16" + enc.extension(886, struct.pack("<dd", 0.0, 250.0)))
    bed.put("wave", Array(11, [1.0]), 11, rank=1, array="elements")
    called = bed.server.space.variables["wave"]
    called.display_name, called.description = "Oil pressure", "At the pump"
    bed.put("own", Scalar(11, 1.0), 11, label="My own")
    bed.server.space.variables["own"].display_name = "Theirs"
    told = {finding.where.split(" ")[0]: finding.message for finding in await bed.source().probe()}
    assert told["m/x"] == "found: unit CEL, range 0 to 250"
    assert told["m/wave"] == "found: “Oil pressure”: At the pump, a signal for each element"
    assert told["m/own"] == "found"


async def test_a_continued_subscription_still_has_its_names_and_units(bed: Types) -> None:
    bed.server.policy.reactivate = True
    bed.server.scripts.clear()
    bed.put("state", Scalar(6, 1), STATE_TYPE)
    bed.property(NodeId(0, STATE_TYPE), "EnumStrings", localized("Idle", "Running"))
    bed.put("x", Array(11, [1.0, 2.0]), 11, rank=1, array="elements")
    bed.property(bed.node("x"), "EngineeringUnits", information(UNECE, int.from_bytes(b"CEL", "big"), "°C"))
    source = bed.source()
    line = await begin(bed, source=source)
    await eventually(lambda: len(line.rows) == 4 and line.checkpoint is not None, "first values")
    bed.server.cut()
    await eventually(line.task.done, "the session ends")
    bed.emit("state", Scalar(6, 0), 1)
    bed.emit("x", Array(11, [3.0, 4.0]), 2)
    known = bed.registry.version
    again = await begin(bed, source=source, resume=line.checkpoint)
    await eventually(
        lambda: again.values("state.text") == ["Idle"] and again.values("x[1]") == [4.0], "what was queued"
    )
    assert bed.registry.version == known
    assert bed.server.record.requests.count("CreateMonitoredItems") == 1
