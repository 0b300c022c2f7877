"""Structures and unions: bodies from an encoder of the tests' own, walked by the types that a server says, and what becomes of them."""

from __future__ import annotations

import struct
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from asyncua import ua
from hypothesis import given
from hypothesis import strategies as st

from adapters.opcua.grids import Bodies, Body
from adapters.opcua.shapes import MOST_LEAVES, Catalogue, Leaf, Member, Selection, Shape, clean, distinct
from adapters.opcua.structure_dictionary import Dictionary, standard
from adapters.opcua.structure_make import Known, Maker, Unresolved
from adapters.opcua.structures import unfold
from adapters.opcua.values import Malformed
from pipelines.batch import Flag, Kind
from pipelines.stage import Refusal
from tests.contracts.rig import eventually
from tests.opcua import encoder as enc
from tests.opcua.encoder import Array, Scalar
from tests.opcua.opened import opened
from tests.opcua.scripted.codec.wire import NodeId
from tests.opcua.scripted.space import Ref
from tests.opcua.settling import settled
from tests.opcua.test_session import Line, begin
from tests.opcua.test_types import STATE_TYPE, Types, localized

POINT, TOOL, CHOICE = 3100, 3101, 3102  # ns=0 numbers of the tests' own DataTypes
POINT_BODY, TOOL_BODY, CHOICE_BODY = (3, 6100), (3, 6101), (3, 6102)


def text_id(node: tuple[int, int]) -> str:
    return f"ns={node[0]};i={node[1]}"


def said_field(name: str, kind: int, rank: int = -1, optional: bool = False) -> bytes:
    """A StructureField (OPC 10000-3, 8.51)."""
    return enc.string(name) + b"\0" + enc.node(0, kind) + struct.pack("<iiI?", rank, -1, 0, optional)


def said_type(encoding: tuple[int, int], form: int, fields: Sequence[bytes]) -> bytes:
    """A DataValue with a StructureDefinition (OPC 10000-3, 8.49)."""
    head = enc.node(*encoding) + enc.node(0, 22) + struct.pack("<ii", form, len(fields))
    return b"\1\x16" + enc.extension(122, head + b"".join(fields))


POINT_TYPE = said_type(POINT_BODY, 0, [said_field("x", 11), said_field("y", 11)])
TOOL_TYPE = said_type(
    TOOL_BODY,
    1,
    [
        said_field("number", 7),
        said_field("state", STATE_TYPE),
        said_field("at", POINT),
        said_field("wear", 10, 1),
        said_field("name", 12, optional=True),
    ],
)
CHOICE_TYPE = said_type(CHOICE_BODY, 2, [said_field("count", 6), said_field("at", POINT)])


def tool(number: int, state: int, name: str | None, wear: Sequence[float] = (0.5, 0.25)) -> enc.Structure:
    body = struct.pack("<IIidd", int(name is not None), number, state, 1.5, -2.0)
    body += struct.pack(f"<i{len(wear)}f", len(wear), *wear)
    return enc.Structure(body + (b"" if name is None else enc.string(name)), TOOL_BODY)


def point(x: float, y: float) -> enc.Structure:
    return enc.Structure(struct.pack("<dd", x, y), POINT_BODY)


def told(line: Line, signal: str) -> list[Any]:
    """Its values, None for a row without."""
    rows = [row for row in line.rows if row.signal == signal]
    return [None if row.flags & Flag.NO_VALUE else row.value for row in rows]


def refused(line: Line) -> list[Refusal]:
    return [one for delivery in line.deliveries for one in delivery.refused]


@pytest.fixture
async def bed() -> AsyncIterator[Types]:
    made = Types()
    made.server.space.own |= {POINT: POINT_TYPE, TOOL: TOOL_TYPE, CHOICE: CHOICE_TYPE}
    made.property(NodeId(0, STATE_TYPE), "EnumStrings", localized("Idle", "Running"))
    made.server.space.tree.setdefault(NodeId(0, STATE_TYPE), []).append(
        Ref(NodeId(0, 29), (0, "Enumeration"), kind=45, forward=False)
    )
    async for bed in opened(made):
        yield bed


async def test_the_fields_of_a_structure_are_signals(bed: Types) -> None:
    """A structure arrives as its fields, an enumeration in it with its name, what is not there as a row without value."""
    bed.put("tool", tool(7, 1, "mill"), TOOL, unit="mm")
    line = await begin(bed)
    await eventually(lambda: line.values("tool.name") == ["mill"], "the fields")
    bed.emit("tool", tool(8, 0, None), 1)
    await eventually(lambda: line.values("tool.number") == [7, 8], "the next")
    assert line.values("tool.state") == [1, 0]
    assert line.values("tool.state.text") == ["Running", "Idle"]
    assert line.values("tool.at.x") == [1.5, 1.5]
    assert line.values("tool.wear[1]") == [0.25, 0.25]
    assert told(line, "tool.name") == ["mill", None]
    assert bed.registry.latest("m", "tool") is None
    units = {bed.registry[n].name: bed.registry[n].unit for n in range(bed.registry.version)}
    assert (units["tool.at.x"], units["tool.name"]) == ("mm", "")


async def test_a_structure_that_says_fields_which_its_type_has_not(bed: Types) -> None:
    """A bit of the mask beyond the optional fields: the bits mean something else, and a field could get another's name."""
    bed.put("tool", tool(7, 1, "mill"), TOOL)
    line = await begin(bed)
    await eventually(lambda: line.values("tool.number") == [7], "the good one")
    body = tool(8, 0, None).body
    bed.emit("tool", enc.Structure(struct.pack("<I", 2) + body[4:], TOOL_BODY), 1)
    await eventually(lambda: bool(refused(line)), "the refusal")
    assert "fields that its type does not have" in refused(line)[0].reason
    assert line.values("tool.number") == [7]


async def test_a_structure_that_has_no_value_for_a_while(bed: Types) -> None:
    bed.put("p", point(1, 2), POINT)
    line = await begin(bed)
    await eventually(lambda: line.values("p.x") == [1.0], "the first")
    bed.emit("p", None, 1, 0x80050000)
    bed.emit("p", point(3, 4), 2)
    await eventually(lambda: line.values("p.x") == [1.0, 3.0], "the last")
    assert told(line, "p.y") == [2.0, None, 4.0]
    assert [row.quality for row in line.rows if row.signal == "p.y"] == [0, 0x80050000, 0]


async def test_the_chosen_branch_of_a_union_has_the_value(bed: Types) -> None:
    bed.put("u", enc.Structure(struct.pack("<Ii", 1, 42), CHOICE_BODY), CHOICE)
    line = await begin(bed)
    await eventually(lambda: line.values("u.count") == [42], "the first branch")
    bed.emit("u", enc.Structure(struct.pack("<Idd", 2, 1.0, 2.0), CHOICE_BODY), 1)
    bed.emit("u", enc.Structure(struct.pack("<I", 0), CHOICE_BODY), 2)
    await eventually(lambda: len([r for r in line.rows if r.signal == "u.count"]) == 3, "all")
    assert told(line, "u.count") == [42, None, None]
    assert told(line, "u.at.y") == [None, 2.0, None]


async def test_only_the_fields_that_are_wanted(bed: Types) -> None:
    bed.put("tool", tool(7, 1, "mill"), TOOL, fields=["at", "state"], names=False)
    line = await begin(bed)
    await eventually(lambda: line.values("tool.at.y") == [-2.0], "a field")
    assert {row.signal for row in line.rows} == {"tool.at.x", "tool.at.y", "tool.state"}


async def test_an_array_of_structures(bed: Types) -> None:
    bed.put("ps", Array(22, [point(1, -1), point(2, -2)]), POINT, rank=1)
    line = await begin(bed)
    await eventually(lambda: line.values("ps[1].y") == [-2.0], "the elements")
    assert line.values("ps[0].x") == [1.0]
    bed.emit("ps", Array(22, [point(3, -3)]), 1)
    await eventually(lambda: line.values("ps[0].x") == [1.0, 3.0], "one element less")
    assert told(line, "ps[1].y") == [-2.0, None]


async def test_what_is_too_long_or_unknown_is_told_and_the_rest_is_kept(bed: Types) -> None:
    bed.put("tool", tool(7, 1, "mill"), TOOL, max_elements=3)
    line = await begin(bed)
    await eventually(lambda: line.values("tool.number") == [7], "the first")
    bed.emit("tool", tool(8, 1, "drill", [0.0] * 4), 1)
    bed.emit("tool", point(1, 2), 2)
    bed.emit("tool", enc.Structure(b"whatever"), 3)
    bed.emit("tool", enc.Structure(b"short", TOOL_BODY), 4)
    await eventually(lambda: len(refused(line)) == 3, "the refusals")
    assert line.values("tool.name") == ["mill", "drill"]
    assert line.values("tool.x") == [1.0]  # another type, as a server may send it
    words = [one.reason for one in refused(line)]
    assert "wear: an array of 4 elements, and max_elements is 3" in words[0]
    assert "does not describe (ns=3;i=5001)" in words[1]
    assert "shorter than its type says" in words[2]
    assert b"whatever" in refused(line)[1].raw


async def test_a_type_that_comes_later_is_asked_for(bed: Types) -> None:
    """Its first value is refused by name, with its bytes; a second later the type is known, and nothing was restarted."""
    bed.put("x", point(1, 2), 22)
    bed.server.space.own[3103] = said_type((3, 6103), 0, [said_field("z", 11)])
    for encoding, kind in ((6100, POINT), (6103, 3103)):
        bed.server.space.tree[NodeId(3, encoding)] = [Ref(NodeId(0, kind), (3, "T"), kind=38, forward=False)]
    line = await begin(bed)
    await eventually(lambda: line.values("x.y") == [2.0], "the first")
    before = len(bed.server.record.requests)
    bed.emit("x", enc.Structure(struct.pack("<d", 1.0), (3, 6103)), 1)
    await eventually(lambda: len(refused(line)) == 1, "the refusal")
    await eventually(lambda: bed.server.record.requests[before:].count("Browse") >= 2, "the question")
    await settled()
    bed.emit("x", enc.Structure(struct.pack("<d", 2.0), (3, 6103)), 2)
    await eventually(lambda: line.values("x.z") == [2.0], "the next")
    assert "ns=3;i=6103" in refused(line)[0].reason
    assert told(line, "x.y") == [2.0, None]


def test_a_field_of_no_type_is_of_any() -> None:
    """Node sets leave BaseDataType out, and servers pass that on."""
    maker = Maker(
        {"ns=3;i=1": Known(Said(0, [SaidField("v", "i=0"), SaidField("n", "i=26"), SaidField("e", "i=29")]))}
    )
    assert [member.builtin for member in maker.shape("ns=3;i=1").members] == [24, 24, 6]


def test_fields_of_a_supertype_come_first_whether_they_are_said_again_or_not() -> None:
    above = Known(Said(0, [SaidField("a", "i=6")]), parent="i=22")
    again = Known(Said(0, [SaidField("a", "i=6"), SaidField("b", "i=6")]), parent="ns=3;i=1")
    alone = Known(Said(0, [SaidField("b", "i=6")]), parent="ns=3;i=1")
    maker = Maker({"ns=3;i=1": above, "ns=3;i=2": again, "ns=3;i=3": alone})
    for kind in ("ns=3;i=2", "ns=3;i=3"):
        assert [member.name for member in maker.shape(kind).members] == ["a", "b"]


def test_a_type_of_which_a_part_is_unknown_is_unknown() -> None:
    whole = Known(Said(0, [SaidField("a", "ns=3;i=2")]), parent="i=22")
    part = Known(Said(0, [SaidField("b", "ns=3;i=9"), SaidField("c", "ns=3;i=1")]), parent="i=22")
    maker = Maker({"ns=3;i=1": whole, "ns=3;i=2": part})
    for kind in ("ns=3;i=1", "ns=3;i=2"):
        with pytest.raises(Unresolved):
            maker.shape(kind)


def test_fields_that_may_be_of_a_subtype_say_themselves_what_they_are() -> None:
    point = Known(Said(0, [SaidField("x", "i=11")]), parent="i=22")
    abstract = Known(Said(0, []), abstract=True, parent="i=22")
    fields = [
        SaidField("p", "ns=3;i=1", optional=True),
        SaidField("q", "ns=3;i=1"),
        SaidField("r", "ns=3;i=2"),
        SaidField("n", "i=11", optional=True),
    ]
    maker = Maker(
        {"ns=3;i=1": point, "ns=3;i=2": abstract, "ns=3;i=3": Known(Said(3, fields), parent="i=22")}
    )
    made = maker.shape("ns=3;i=3")
    assert made.form == "structure"
    assert [(member.builtin, member.shape is not None) for member in made.members] == [
        (22, False), (22, True), (22, False), (24, False),
    ]  # fmt: skip


@dataclass
class Said:
    """A StructureDefinition as the library decodes it."""

    StructureType: int
    Fields: list[Any]


class SaidField:
    def __init__(self, name: str, kind: str, rank: int = -1, optional: bool = False) -> None:
        self.Name, self.ValueRank, self.IsOptional = name, rank, optional
        self.DataType = node_of(kind)


def node_of(text: str) -> Any:
    space, _, identifier = text.rpartition(";")
    make: Any = ua.NodeId
    return make(int(identifier[2:]), int(space[3:] or 0))


async def test_fields_elements_and_names_of_a_node_that_is_gone_have_no_value_any_more(bed: Types) -> None:
    """No flat line: a row without value for each of them, and new values when the node is back."""
    bed.put("p", point(1, 2), POINT)
    bed.put("wave", Array(11, [1.0, 2.0]), 11, rank=1, array="elements")
    bed.put("state", Scalar(6, 1), STATE_TYPE)
    names = ("p.x", "p.y", "wave[0]", "wave[1]", "state", "state.text")
    line = await begin(bed)
    await eventually(lambda: all(line.values(name) for name in names), "the first values")
    for name in ("p", "wave", "state"):
        bed.server.variables[name].known = False
    bed.server.end_subscriptions()
    await eventually(lambda: all(told(line, name)[-1] is None for name in names), "rows without value")
    assert {row.quality for row in line.rows if row.flags & Flag.NO_VALUE} == {0x80340000}
    for name in ("p", "wave", "state"):
        bed.server.variables[name].known = True
    await eventually(lambda: all(told(line, name)[-1] is not None for name in names), "values again")


async def test_a_name_that_another_signal_has_is_not_shared(bed: Types) -> None:
    bed.put("p", point(1, 2), POINT)
    bed.put("p.x", Scalar(11, 9.0), 11)
    line = await begin(bed)
    await eventually(lambda: line.values("p.y") == [2.0], "the other field")
    await eventually(lambda: line.values("p.x") == [9.0], "the signal of that name")
    assert any("p.x belongs to another signal" in one.reason for one in refused(line))


async def test_check_names_a_structure(bed: Types) -> None:
    bed.put("p", point(1, 2), POINT)
    bed.put("odd", enc.Structure(b"x"), 22)
    told = {finding.where.split(" ")[0]: finding for finding in await bed.source().probe()}
    assert told["m/p"].message == "found: a signal for each field (2: p.x, p.y)"
    assert "ns=3;i=5001" in told["m/odd"].message


async def test_a_continued_subscription_knows_its_types(bed: Types) -> None:
    bed.server.policy.reactivate = True
    bed.server.scripts.clear()
    bed.put("p", point(1, 2), POINT)
    bed.put("any", point(5, 6), 22)
    source = bed.source()
    line = await begin(bed, source=source)
    await eventually(lambda: len(line.rows) == 4 and line.checkpoint is not None, "the first values")
    bed.server.cut()
    await eventually(line.task.done, "the session ends")
    bed.emit("p", point(3, 4), 1)
    bed.emit("any", point(7, 8), 2)
    again = await begin(bed, source=source, resume=line.checkpoint)
    await eventually(
        lambda: again.values("p.x") == [3.0] and again.values("any.y") == [8.0], "what was queued"
    )
    assert bed.server.record.requests.count("CreateMonitoredItems") == 1
    assert not refused(again)


# --- the walk by itself


WORDS = {1: "?", 2: "b", 3: "B", 4: "h", 5: "H", 6: "i", 7: "I", 8: "q", 9: "Q", 11: "d"}
RANGES: dict[int, st.SearchStrategy[Any]] = {
    1: st.booleans(),
    **{kind: st.integers(*limits) for kind, limits in {
        2: (-128, 127), 3: (0, 255), 4: (-(2**15), 2**15 - 1), 5: (0, 2**16 - 1), 6: (-(2**31), 2**31 - 1),
        7: (0, 2**32 - 1), 8: (-(2**63), 2**63 - 1), 9: (0, 2**64 - 1),
    }.items()},
    11: st.floats(allow_nan=False),
    12: st.text(max_size=8),
}  # fmt: skip


def encoded(kind: int, value: Any) -> bytes:
    return enc.string(value) if kind == 12 else struct.pack("<" + WORDS[kind], value)


@st.composite
def shaped(draw: st.DrawFn, depth: int = 0) -> tuple[Shape, bytes, list[tuple[str, Any]]]:
    """A type, a body of it, and the leaves that a reader must find, by another way: written while it is made."""
    form: Any = draw(st.sampled_from(["structure", "optional", "union"]))
    count = draw(st.integers(1, 4))
    shape, parts, there = Shape("T", form), [], []
    expected: list[list[tuple[str, Any]]] = []
    for number in range(count):
        name = f"f{number}"
        if depth < 2 and draw(st.integers(0, 3)) == 0:
            inner, body, leaves = draw(shaped(depth + 1))
            shape.members.append(Member(name, 22, 0, True, inner))
            parts.append(body)
            expected.append([(f".{name}{path}", value) for path, value in leaves])
        elif draw(st.integers(0, 3)) == 0:
            kind = draw(st.sampled_from(sorted(RANGES)))
            cells = draw(st.lists(RANGES[kind], max_size=4))
            shape.members.append(Member(name, kind, 1, True))
            parts.append(struct.pack("<i", len(cells)) + b"".join(encoded(kind, c) for c in cells))
            expected.append([(f".{name}[{at}]", cell) for at, cell in enumerate(cells)])
        else:
            kind = draw(st.sampled_from(sorted(RANGES)))
            value = draw(RANGES[kind])
            shape.members.append(Member(name, kind, 0, True))
            parts.append(encoded(kind, value))
            expected.append([(f".{name}", value)])
        there.append(form == "structure" or draw(st.booleans()))
    if form == "union":
        chosen = draw(st.integers(0, count))
        head, there = struct.pack("<I", chosen), [n + 1 == chosen for n in range(count)]
    else:
        head = (
            struct.pack("<I", sum(is_there << n for n, is_there in enumerate(there)))
            if form == "optional"
            else b""
        )
    body = head + b"".join(part for part, is_there in zip(parts, there, strict=True) if is_there)
    return (
        shape,
        body,
        [leaf for part, is_there in zip(expected, there, strict=True) if is_there for leaf in part],
    )


def walk(shape: Shape, body: bytes, **wishes: Any) -> list[Leaf]:
    return unfold(Body("t", body), Catalogue({"t": shape}), Selection(**wishes)).leaves


@given(shaped())
def test_any_type_and_any_value_of_it(made: tuple[Shape, bytes, list[tuple[str, Any]]]) -> None:
    shape, body, expected = made
    found = [(leaf.path, leaf.value) for leaf in walk(shape, body) if leaf.value is not None]
    assert found == expected


@given(shaped(), st.data())
def test_bytes_that_are_wrong_are_malformed_and_nothing_else(
    made: tuple[Shape, bytes, list[tuple[str, Any]]], data: st.DataObject
) -> None:
    shape, body, _ = made
    cut = data.draw(st.integers(0, len(body)))
    broken = data.draw(
        st.sampled_from([body[:cut], body + b"\0", body[:cut] + b"\xff\xff\xff\x7f" + body[cut:]])
    )
    try:
        walk(shape, broken)
    except Malformed:
        return


def test_one_byte_too_many_means_that_the_type_is_another() -> None:
    shape = Shape("Pair", members=[Member("a", 6), Member("b", 6)])
    with pytest.raises(Malformed, match="a Pair of 9 bytes, and its type says 8"):
        walk(shape, bytes(9))


def test_a_type_within_itself_ends() -> None:
    node = Shape("Node", "optional")
    node.members += [Member("n", 6), Member("next", 22, 0, True, node)]
    level = struct.pack("<Ii", 1, 5)
    assert [leaf.path for leaf in walk(node, level + level + struct.pack("<Ii", 0, 5)) if leaf.value is not None] == [
        ".n", ".next.n", ".next.next.n",
    ]  # fmt: skip
    with pytest.raises(Malformed, match="nested too deep"):
        walk(node, level * 50)


def test_hostile_counts_cost_nothing() -> None:
    """U22: declared lengths, empty structures in masses, and unions whose other branches would be millions of values."""
    began = time.process_time()
    numbers = Shape("N", members=[Member("n", 11, 1)])
    for claimed in (2**31 - 1, -(2**31), 10**6):
        body = struct.pack("<i", claimed)
        if claimed > 0:
            with pytest.raises(Malformed):
                walk(numbers, body)
        else:
            assert walk(numbers, body) == []
    wide = Shape("W", "union", [Member("c", 6)])
    for _ in range(7):
        wide = Shape("W", "union", [Member(f"m{n}", 22, 0, False, wide) for n in range(50)])
    with pytest.raises(Malformed, match=str(MOST_LEAVES)):
        walk(wide, bytes(4))
    with pytest.raises(Malformed, match=str(MOST_LEAVES)):
        walk(wide, bytes(4), fields=["nothing"])
    many = Shape("M", members=[Member("m", 3, 2)])
    with pytest.raises(Malformed):
        walk(many, struct.pack("<iii", 2, 2**30, 2**30))
    assert time.process_time() - began < 20.0


def test_structures_that_say_themselves_what_they_are() -> None:
    inner, outer = (
        Shape("I", members=[Member("a", 6)]),
        Shape("O", members=[Member("s", 22), Member("v", 24)]),
    )
    known = Catalogue({"ns=3;i=7": inner, "t": outer})
    body = enc.builtin(22, enc.Structure(struct.pack("<i", 4), (3, 7)))
    found = unfold(Body("t", body + enc.variant(Array(6, [1, 2]))), known, Selection())
    assert found.leaves == [
        Leaf(".s.a", Kind.INTEGER, 4), Leaf(".v[0]", Kind.INTEGER, 1), Leaf(".v[1]", Kind.INTEGER, 2),
    ]  # fmt: skip
    body = enc.builtin(22, enc.Structure(b"?", (3, 8)))
    found = unfold(Body("t", body + enc.variant(Scalar(12, "x"))), known, Selection())
    assert found.leaves == [Leaf(".v", Kind.TEXT, "x")]
    assert found.troubles == ["s: a structure of a type that the server does not describe (ns=3;i=8)"]
    assert known.missing == {"ns=3;i=8"}


def test_a_matrix_in_a_structure_has_its_dimensions_before_it() -> None:
    shape = Shape("M", members=[Member("m", 4, 2)])
    found = walk(shape, struct.pack("<iii6h", 2, 2, 3, *range(6)))
    assert [(leaf.path, leaf.value) for leaf in found][::5] == [(".m[0,0]", 0), (".m[1,2]", 5)]


def test_names_are_made_harmless() -> None:
    assert clean("a.b[0]\n") == "a_b_0__"
    assert clean("") == "field"
    assert len(clean("x" * 1000)) == 100
    assert [m.name for m in distinct([Member("a", 6), Member("a", 6), Member("b", 6)])] == ["a", "a_2", "b"]


def test_the_standard_types_are_there() -> None:
    found = unfold(Body("i=886", struct.pack("<dd", 0.0, 250.0)), Catalogue(standard()), Selection())
    assert [tuple(leaf) for leaf in found.leaves] == [
        (".Low", Kind.NUMBER, 0.0),
        (".High", Kind.NUMBER, 250.0),
    ]


DICTIONARY = b"""<?xml version="1.0"?>
<opc:TypeDictionary xmlns:opc="http://opcfoundation.org/BinarySchema/" xmlns:tns="urn:x" xmlns:ua="http://opcfoundation.org/UA/">
 <opc:EnumeratedType Name="Mode" LengthInBits="32">
  <opc:EnumeratedValue Name="Auto" Value="2"/>
 </opc:EnumeratedType>
 <opc:StructuredType Name="Inner" BaseType="ua:ExtensionObject">
  <opc:Field Name="NoOfCells" TypeName="opc:Int32"/>
  <opc:Field Name="Cells" TypeName="opc:Double" LengthField="NoOfCells"/>
 </opc:StructuredType>
 <opc:StructuredType Name="Outer" BaseType="ua:ExtensionObject">
  <opc:Field Name="NoteSpecified" TypeName="opc:Bit"/>
  <opc:Field Name="Reserved1" TypeName="opc:Bit" Length="31"/>
  <opc:Field Name="Mode" TypeName="tns:Mode"/>
  <opc:Field Name="In" TypeName="tns:Inner"/>
  <opc:Field Name="Span" TypeName="ua:Range"/>
  <opc:Field Name="Note" TypeName="opc:CharArray" SwitchField="NoteSpecified"/>
 </opc:StructuredType>
 <opc:StructuredType Name="Either" BaseType="ua:Union">
  <opc:Field Name="SwitchField" TypeName="opc:UInt32"/>
  <opc:Field Name="A" TypeName="opc:Int32" SwitchField="SwitchField" SwitchValue="1"/>
  <opc:Field Name="B" TypeName="opc:Double" SwitchField="SwitchField" SwitchValue="2"/>
 </opc:StructuredType>
 <opc:StructuredType Name="Odd"><opc:Field Name="x" TypeName="tns:Nowhere"/></opc:StructuredType>
</opc:TypeDictionary>"""


def test_a_dictionary_of_before_1_04() -> None:
    known = Dictionary(DICTIONARY)
    outer, either = known.shape("Outer"), known.shape("Either")
    assert outer is not None
    assert either is not None
    assert known.shape("Odd") is None
    body = struct.pack("<Iiid", 1, 2, 1, 0.5) + struct.pack("<dd", 0.0, 9.0) + enc.string("hello")
    assert {leaf.path: leaf.value for leaf in walk(outer, body)} == {
        ".Mode": 2, ".Mode.text": "Auto", ".In.Cells[0]": 0.5, ".Span.Low": 0.0, ".Span.High": 9.0, ".Note": "hello",
    }  # fmt: skip
    assert [leaf.value for leaf in walk(either, struct.pack("<Id", 2, 1.5))] == [None, 1.5]


@pytest.mark.parametrize(
    "xml",
    [
        b"no xml",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b"<a>" * 10 + b"</a>",
        b'<opc:Field Name="x" TypeName="y"/>' + b" " * 9_000_000,
    ],
)
def test_a_dictionary_that_is_none(xml: bytes) -> None:
    with pytest.raises(ValueError, match="a type dictionary"):
        Dictionary(xml)


def test_an_array_of_too_many_structures_is_not_walked() -> None:
    found = unfold(Bodies([Body("t", b"")] * 1000, (1000,)), Catalogue({"t": Shape("T")}), Selection(most=10))
    assert found == ([], ["an array of 1000 structures, and max_elements is 10"])
