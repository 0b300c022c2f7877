"""Types by name, for servers that have no DataTypeDefinition attribute: the dictionaries of before OPC UA 1.04 (OPC 10000-5, D.5), and the standard's own.

A dictionary is XML that a server chose: it is read without entities and external parts, and bounded. What has bits, terminators
or other layouts than OPC UA's own types cannot be understood, and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from adapters.opcua.shapes import Member, Shape, clean

LARGEST: Final = 8 * 2**20
_MOST: Final = 5000
_BITS: Final = 32

BUILTINS: Final = {
    name: number
    for number, name in enumerate(
        (
            "Boolean", "SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double",
            "String", "DateTime", "Guid", "ByteString", "XmlElement", "NodeId", "ExpandedNodeId", "StatusCode",
            "QualifiedName", "LocalizedText", "ExtensionObject", "DataValue", "Variant", "DiagnosticInfo",
        ),
        1,
    )
} | {"CharArray": 12, "Char": 3}  # fmt: skip

_STANDARD: Final = """
Range 884 886: Low Double, High Double
EUInformation 887 889: NamespaceUri String, UnitId Int32, DisplayName LocalizedText, Description LocalizedText
Argument 296 298: Name String, DataType NodeId, ValueRank Int32, ArrayDimensions UInt32[], Description LocalizedText
EnumValueType 7594 8251: Value Int64, DisplayName LocalizedText, Description LocalizedText
TimeZoneDataType 8912 8917: Offset Int16, DaylightSavingInOffset Boolean
ComplexNumberType 12171 12181: Real Float, Imaginary Float
DoubleComplexNumberType 12172 12182: Real Double, Imaginary Double
AxisInformation 12079 12089: EngineeringUnits EUInformation, EURange Range, Title LocalizedText, AxisScaleType Int32, AxisSteps Double[]
XVType 12080 12090: X Double, Value Float
BuildInfo 338 340: ProductUri String, ManufacturerName String, ProductName String, SoftwareVersion String, BuildNumber String, BuildDate DateTime
ServerStatusDataType 862 864: StartTime DateTime, CurrentTime DateTime, State Int32, BuildInfo BuildInfo, SecondsTillShutdown UInt32, ShutdownReason LocalizedText
StatusResult 299 301: StatusCode StatusCode, Diagnostics DiagnosticInfo
KeyValuePair 14533 14846: Key QualifiedName, Value Variant
RationalNumber 18806 18815: Numerator Int32, Denominator UInt32
ThreeDVector 18808 18817: X Double, Y Double, Z Double
ThreeDCartesianCoordinates 18810 18819: X Double, Y Double, Z Double
ThreeDOrientation 18812 18821: A Double, B Double, C Double
ThreeDFrame 18814 18823: CartesianCoordinates ThreeDCartesianCoordinates, Orientation ThreeDOrientation
"""
"""Name, DataType, encoding (NodeIds.csv), fields (OPC 10000-3, 10000-5, 10000-8)."""


def standard() -> dict[str, Shape]:
    """Types of namespace 0 by name and by the NodeIds of DataType and encoding."""
    found: dict[str, Shape] = {}
    for line in _STANDARD.strip().splitlines():
        head, _, rest = line.partition(": ")
        name, *numbers = head.split()
        members = [_member(text, found) for text in rest.split(", ")]
        found |= dict.fromkeys((name, *(f"i={number}" for number in numbers)), Shape(name, members=members))
    return found


def _member(text: str, known: Mapping[str, Shape]) -> Member:
    name, kind = text.split()
    plain = kind.removesuffix("[]")
    return Member(name, BUILTINS.get(plain, 22), int(plain != kind), shape=known.get(plain))


class NotUnderstood(Exception):
    """A type that this way of reading does not cover."""


@dataclass(slots=True)
class _Type:
    """A StructuredType or EnumeratedType as written: the attributes of its fields, or the names of its values."""

    name: str
    fields: list[dict[str, str]] = field(default_factory=list)
    texts: dict[int, str] | None = None


class Dictionary:
    """One type dictionary (BSD). Raises ValueError for what is no such thing."""

    def __init__(self, xml: bytes) -> None:
        if len(xml) > LARGEST:
            raise ValueError(f"a type dictionary of {len(xml)} bytes")
        self._types: dict[str, _Type] = {}
        self._shapes: dict[str, Shape] = {}
        self._standard = standard()
        try:
            _parser(self._begin).Parse(xml, True)
        except expat.ExpatError as error:
            raise ValueError(f"a type dictionary that is no XML: {error}") from None

    def _begin(self, tag: str, attributes: dict[str, str]) -> None:
        kind, name = tag.rpartition(":")[2], attributes.get("Name", "")
        if kind in ("StructuredType", "EnumeratedType") and len(self._types) < _MOST:
            self._types[name] = _Type(name, texts=None if kind == "StructuredType" else {})
            self._latest = self._types[name]
        elif kind == "Field" and self._types:
            self._latest.fields.append(attributes)
        elif kind == "EnumeratedValue" and self._types and self._latest.texts is not None:
            self._latest.texts[int(attributes.get("Value", "0"))] = clean(name)

    def shape(self, name: str) -> Shape | None:
        """The structure of this name; None if it is not there or cannot be understood."""
        try:
            return self._made(name)
        except NotUnderstood:
            return None

    def _made(self, name: str) -> Shape:
        if name in self._shapes:
            return self._shapes[name]
        found = self._types.get(name)
        if found is None or found.texts is not None:
            raise NotUnderstood(name)
        before = dict(self._shapes)
        self._shapes[name] = shape = Shape(clean(name))
        try:
            self._fill(shape, found.fields)
        except NotUnderstood:
            self._shapes = before  # those that were made of it are not whole either
            raise
        return shape

    def _fill(self, shape: Shape, fields: list[dict[str, str]]) -> None:
        lengths = {one["LengthField"] for one in fields if "LengthField" in one}
        bits = [one for one in fields if _local(one) == "Bit"]
        if bits and sum(int(one.get("Length", "1")) for one in bits) != _BITS:
            raise NotUnderstood("bits that are no mask of optional fields")
        plain = [one for one in fields if one not in bits and one.get("Name") not in lengths]
        if any("SwitchValue" in one for one in plain):
            shape.form, plain = "union", plain[1:]
        elif bits:
            shape.form = "optional"
        flags = [one.get("Name") for one in bits if "Reserved" not in one.get("Name", "")]
        switches = [one["SwitchField"] for one in plain if "SwitchField" in one]
        if shape.form == "optional" and switches != flags[: len(switches)]:
            raise NotUnderstood("optional fields in another order than their bits")
        for one in plain:
            shape.members.append(self._field(one, shape.form == "optional" and "SwitchField" in one))

    def _field(self, one: dict[str, str], optional: bool) -> Member:
        if "Terminator" in one or "Length" in one:
            raise NotUnderstood("a layout of its own")
        name, kind, rank = clean(one.get("Name", "")), _local(one), int("LengthField" in one)
        inner = self._types.get(kind)
        if one.get("TypeName", "").startswith(("opc:", "ua:")) or inner is None:
            if kind in BUILTINS:
                return Member(name, BUILTINS[kind], rank, optional)
            if kind not in self._standard:
                raise NotUnderstood(kind)
            return Member(name, 22, rank, optional, self._standard[kind])
        if inner.texts is not None:
            return Member(name, 6, rank, optional, texts=inner.texts)
        return Member(name, 22, rank, optional, self._made(kind))


def _local(one: Mapping[str, str]) -> str:
    return one.get("TypeName", "").rpartition(":")[2]


def _parser(begin: Callable[[str, dict[str, str]], None]) -> expat.XMLParserType:
    """A parser that refuses a document type: entities are how small XML becomes large."""

    def no_doctype(*_: object) -> None:
        raise ValueError("a type dictionary with a document type of its own")

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.StartDoctypeDeclHandler = no_doctype
    return parser
