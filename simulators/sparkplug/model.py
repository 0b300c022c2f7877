"""What a Sparkplug B payload is made of (3.0, chapter 6.4), as far as it can be said, right or wrong: all fields may be left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

Kind = Literal[
    "int",
    "long",
    "float",
    "double",
    "boolean",
    "string",
    "bytes",
    "dataset",
    "template",
    "propertyset",
    "propertysets",
]
"""The fields of a value's oneof."""


class DataType(IntEnum):
    """6.4.16."""

    UNKNOWN = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTY_SET = 20
    PROPERTY_SET_LIST = 21
    INT8_ARRAY = 22
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATETIME_ARRAY = 34


@dataclass(frozen=True, slots=True)
class MetaData:
    """6.4.7."""

    is_multi_part: bool | None = None
    content_type: str | None = None
    size: int | None = None
    seq: int | None = None
    file_name: str | None = None
    file_type: str | None = None
    md5: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Property:
    """6.4.9. value None: is_null."""

    type: DataType
    value: Any = None


Properties = dict[str, Property]


@dataclass(frozen=True, slots=True)
class DataSet:
    """6.4.11. Rows may be ragged, and columns more or fewer than types: nothing is checked here."""

    columns: Sequence[str]
    types: Sequence[DataType]
    rows: Sequence[Sequence[Any]]
    announced: int | None = None
    """num_of_columns, if not the number of columns."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """6.4.15."""

    name: str
    type: DataType
    value: Any = None


@dataclass(frozen=True, slots=True)
class Template:
    """6.4.14. ref None: a definition has none."""

    metrics: Sequence["Metric"]
    ref: str | None = None
    version: str | None = None
    parameters: Sequence[Parameter] = ()
    is_definition: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """6.4.6. value None: no value field. encode_as: the datatype that shapes the value, where none is written or a wrong one.
    kind: the oneof field to use instead of the right one.
    """

    name: str | None = None
    alias: int | None = None
    timestamp: int | None = None  # ms since 1970 UTC
    datatype: int | None = None
    value: Any = None
    is_historical: bool | None = None
    is_transient: bool | None = None
    is_null: bool | None = None
    metadata: MetaData | None = None
    properties: Properties | None = None
    encode_as: int | None = None
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class Payload:
    """6.4.5."""

    metrics: Sequence[Metric] = ()
    timestamp: int | None = None
    seq: int | None = None
    uuid: str | None = None
    body: bytes | None = None
