"""How an edge behaves for its whole life: by the book, or as a known product does, or wrong in one respect."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

from simulators.errors import SimulatorError


@dataclass(frozen=True, slots=True)
class Habits:
    """The default of each is what Sparkplug B 3.0 asks for."""

    sign: Literal["type", "field"] = "type"
    """Width of two's complement: the type's (Int8 -1 is 255) or the field's (4294967295)."""
    uint32: Literal["int", "long"] = "int"
    """Field of a UInt32."""
    small: Literal["int", "long"] = "int"
    """Field of all integers up to 32 bits."""
    arrays: Literal["little", "big"] = "little"
    aliases: bool = True
    data: Literal["alias", "name", "both", "neither"] = "alias"
    """How data names a metric that has an alias."""
    types: Literal["birth", "always", "never"] = "birth"
    """Where metrics carry their datatype."""
    metric_times: bool = True
    payload_time: bool = True
    compress: Literal["", "gzip", "deflate"] = ""
    """What data and births are wrapped in; deaths never are."""
    retain: bool = False
    """Births retained, as bridges and some brokers make them."""
    will: Literal["own", "none", "old"] = "own"
    """old: the NDEATH of the will has the bdSeq of the connection before."""
    death: Literal["own", "next", "none"] = "own"
    """The bdSeq of the NDEATH before an orderly disconnect; none: there is no NDEATH."""
    first_seq: int = 0
    first_bd_seq: int = 0
    bd_seq: Literal["rises", "stays", "missing"] = "rises"
    rebirth: Literal["obeys", "ignores"] = "obeys"
    rebirth_metric: Literal["name", "alias", "missing"] = "name"
    births: Literal["all", "node"] = "all"
    """node: a DBIRTH is never sent, data of devices are."""
    state: Literal["3", "2"] = "3"
    """Topic and form of the host's STATE: spBv1.0/STATE/id with JSON, or STATE/id with ONLINE and OFFLINE."""
    namespace: str = "spBv1.0"
    """First levels of every topic but STATE; a bridge between brokers puts its own before it."""


DIALECTS: Final[Mapping[str, Habits]] = {
    "spec": Habits(),
    # Tahu's Java library, and so Ignition: Byte and Short become int before they are written, UInt32 is a long.
    "ignition": Habits(sign="field", uint32="long", types="always"),
    # npm sparkplug-payload: protobufjs writes negative numbers as `n >>> 0`; names, no aliases, unless the user gives some.
    "sparkplug-payload": Habits(sign="field", uint32="long", types="always", aliases=False),
    # Tahu's Python examples: +2**8 and so on; the bdSeq of a restarted process begins at 0.
    "tahu-python": Habits(types="always"),
    # pysparkplug 0.6: when it leaves in order, its NDEATH has the bdSeq of the will that it has prepared for next time.
    "pysparkplug": Habits(aliases=False, death="next"),
    # Seen with edges that hold every integer in 64 bits.
    "long": Habits(small="long", sign="field", uint32="long"),
    "2.2": Habits(state="2", types="always"),
    "retaining": Habits(retain=True),
    "bridge": Habits(namespace="site-1/spBv1.0"),
    "gzip": Habits(compress="gzip"),
    "deflate": Habits(compress="deflate"),
}


def habits(dialect: str, changes: Mapping[str, str]) -> Habits:
    """A dialect with single habits changed; SimulatorError names what there is."""
    if dialect not in DIALECTS:
        raise SimulatorError(f"--dialect {dialect}: there are {', '.join(DIALECTS)}.")
    known = {field.name: field for field in fields(Habits)}
    changed: dict[str, Any] = {}
    for name, wish in changes.items():
        if name not in known:
            raise SimulatorError(f"--habit {name}: there are {', '.join(known)}.")
        changed[name] = _value(name, str(known[name].type), wish)
    return replace(DIALECTS[dialect], **changed)


def _value(name: str, kind: str, wish: str) -> Any:
    if kind == "<class 'bool'>":
        if wish in ("yes", "no"):
            return wish == "yes"
        raise SimulatorError(f"--habit {name}={wish}: yes or no.")
    if kind == "<class 'int'>":
        if wish.isdecimal() and int(wish) < 256:
            return int(wish)
        raise SimulatorError(f"--habit {name}={wish}: a number from 0 to 255.")
    if kind == "<class 'str'>":
        return wish
    choices = [choice.strip("' ") for choice in kind.partition("[")[2].rstrip("]").split(",")]
    if wish not in choices:
        raise SimulatorError(f"--habit {name}={wish}: one of {', '.join(c or 'nothing' for c in choices)}.")
    return wish
