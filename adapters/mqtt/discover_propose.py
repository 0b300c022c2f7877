"""Which topics belong to which machine, and how a configuration says so: `factory/{machine}/{signal}` where the topics show it.

Of a message that is one value (bare, or `{ts, value}`) the last level is the signal's name. A level of a topic is a machine's where other topics are
the same but for it and carry the same kind of thing (`factory/a/temp`, `factory/b/temp`); the highest such level counts. Where nothing is
alike, it is the level before the last one, or the last one of `energy/cnc-1` with several values.
Whatever is proposed was read by the decoder that will read it; what it refuses is left out with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from adapters.discovery import (
    LeftOut,
    Proposal,
    ProposedMachine,
    ProposedRead,
    Wishes,
    machine_id,
    signal_name,
    unique,
)
from adapters.mqtt.discover_documents import Field, Kind
from adapters.mqtt.discover_listen import Topic
from adapters.mqtt.discover_sparkplug import NodeSeen
from adapters.mqtt.payloads.chosen import Reader
from adapters.mqtt.settings import MqttRead
from adapters.mqtt.topics import parse_template

_DEEPEST: Final = 32


@dataclass(slots=True)
class Seen:
    """A topic that is no Sparkplug: what it carries, and where its machine stands (-1: nowhere)."""

    topic: Topic
    kind: Kind
    levels: tuple[str, ...]
    machine: int = -1

    @property
    def is_one(self) -> bool:
        """One value: what it is called stands in the topic."""
        return self.kind.sole is not None


@dataclass(slots=True)
class _Machine:
    """reads: signals by the keys of their entry."""

    id: str
    label: str
    reads: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)

    def add(self, keys: dict[str, Any], signals: Sequence[Mapping[str, Any]]) -> None:
        self.reads.setdefault(repr(keys), (keys, []))[1].extend(dict(signal) for signal in signals)

    def named(self, parts: Sequence[str]) -> str:
        name = unique(signal_name(parts), self.names)
        self.names[name] = None
        return name


def place_machines(seen: Sequence[Seen]) -> None:
    """Finds the level of the machine in every topic."""
    alike: Counter[tuple[Any, ...]] = Counter(key for each in seen for _, key in _keys(each))
    for each in seen:
        evident = [level for level, key in _keys(each) if alike[key] > 1]
        each.machine = evident[0] if evident else _plain_level(each)


def _keys(seen: Seen) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """A topic without one of its levels, with what it carries. Of one value the last level is the signal's name."""
    levels = seen.levels
    schema = "" if seen.is_one else tuple(sorted(str(each.path) for each in seen.kind.fields)[:50])
    for level in range(min(len(levels) - seen.is_one, _DEEPEST)):
        yield level, (seen.kind.name, schema, level, levels[:level], levels[level + 1 :])


def _plain_level(seen: Seen) -> int:
    last = len(seen.levels) - 1
    if seen.is_one:
        return last - 1
    return last if last < 2 else last - 1


def proposed(name: str, source: Mapping[str, Any], seen: Sequence[Seen], nodes: Sequence[NodeSeen], wishes: Wishes) -> Proposal:  # fmt: skip
    machines: dict[str, _Machine] = {}
    left: list[LeftOut] = []
    for each in seen:
        why = each.kind.why or _unfit(each, wishes)
        if why:
            left.append(LeftOut(each.topic.name, why))
        else:
            left += _take(_machine(machines, _called(each, name), wishes), each)
    for node in nodes:
        for device in node.entities:
            place = (*node.key, *([device] if device else []))
            if not (wishes.under or wishes.wants(place)):
                left.append(LeftOut("/".join(place), "not asked for (--select)"))
            else:
                _machine(machines, device or node.key[1], wishes).add(
                    {"sparkplug": "/".join(place), "adopt": True}, ()
                )
    made = [ProposedMachine(each.id, each.label, tuple(ProposedRead(keys, tuple(signals)) for keys, signals in each.reads.values())) for each in machines.values() if each.reads]  # fmt: skip
    return Proposal(name, source, tuple(made), tuple(left))


def _unfit(seen: Seen, wishes: Wishes) -> str:
    if not wishes.wants(seen.levels):
        return "not asked for (--under, --select)"
    if seen.topic.name.startswith("$"):
        return "the broker's own topics ($SYS and the like) are not proposed"
    if any(set(level) & set("{}") for level in seen.levels):
        return "a topic with braces, which stand for names in a configuration"
    try:
        parse_template(seen.topic.name)
    except ValueError as error:
        return str(error)
    return ""


def _called(seen: Seen, name: str) -> str:
    return seen.levels[seen.machine] if seen.machine >= 0 else name


def _machine(machines: dict[str, _Machine], called: str, wishes: Wishes) -> _Machine:
    title = wishes.machine or called
    if title not in machines:
        made = wishes.machine or unique(machine_id(title), {each.id for each in machines.values()}, "-")
        machines[title] = _Machine(made, title if title != made else "")
    return machines[title]


def _take(machine: _Machine, seen: Seen) -> list[LeftOut]:
    """Adds what the topic carries to its machine; what cannot be added, with its reason."""
    levels = list(seen.levels)
    if seen.machine >= 0 and levels[seen.machine] == machine.id:
        levels[seen.machine] = "{machine}"
    after = [level for n, level in enumerate(seen.levels) if n > seen.machine]
    if seen.kind.sole is not None:
        return _take_one(machine, seen, seen.kind.sole, levels)
    signals = [_signal(machine, each, after) for each in seen.kind.values]
    keys = {"topic": "/".join(levels), "payload": seen.kind.payload}
    why = tried(keys, signals, seen.topic.samples, machine.id)
    if why:
        return [LeftOut(seen.topic.name, why)]
    machine.add(keys, signals)
    return _rest(seen, seen.kind.values)


def _rest(seen: Seen, taken: Sequence[Field]) -> list[LeftOut]:
    """The fields of the message that are no signals."""
    rest = [each for each in seen.kind.fields if each not in taken]
    return [
        LeftOut(f"{seen.topic.name} {each.address.get('value', '')}", each.why or _ROLES[each.role])
        for each in rest
    ]


_ROLES: Final = {
    "time": "the time of the values",
    "unit": "a unit",
    "quality": "perhaps a quality: its words need a map",
    "": "",
}


def _signal(machine: _Machine, each: Field, after: Sequence[str]) -> dict[str, Any]:
    """Named by the field alone where that is free, else with the topic's levels before it."""
    parts = [str(part) for part in each.path] or list(after[-1:])
    name = signal_name(parts[-3:])
    made = machine.named([*after, *parts] if name in machine.names else parts[-3:])
    unit = {"unit": each.unit} if each.unit else {}
    return {"name": made, **({} if each.address.get("item") == made else each.address), **unit}


def _take_one(machine: _Machine, seen: Seen, value: Field, levels: list[str]) -> list[LeftOut]:
    """A topic that is one signal, called after the topic's last level."""
    after = list(seen.levels[seen.machine + 1 :])
    segment = after[-1] if after else seen.levels[-1]
    if len(after) == 1 and segment:
        levels[-1] = "{signal}"
    keys: dict[str, Any] = {"topic": "/".join(levels), "payload": seen.kind.payload}
    named = machine.named(after or [segment])
    item = {"item": segment} if levels[-1] == "{signal}" and segment != named else {}
    signal = {"name": named, **item, **value.address, **({"unit": value.unit} if value.unit else {})}
    why = tried(keys, [signal], seen.topic.samples, machine.id)
    if why:
        return [LeftOut(seen.topic.name, why)]
    machine.add(keys, [signal])
    return _rest(seen, [value])


def tried(
    keys: Mapping[str, Any], signals: Sequence[Mapping[str, Any]], samples: Sequence[bytes], machine: str
) -> str:
    """Why the entry does not read all that was kept; empty if it does."""
    try:
        read = MqttRead.model_validate({"source": "look", **keys, "signals": list(signals)})
        read.template.bound(machine=machine)
    except ValidationError as error:
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    decode = Reader(read).decoder(list(read.signals) if read.payload.has_paths else list(read.signals)[:1])
    for sample in filter(None, samples):
        refused = decode(sample).refused
        if refused:
            return refused[0].reason
    return ""
