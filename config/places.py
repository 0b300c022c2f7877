"""Where sources, machines, signals and sinks were written: for problems that show only when something connects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from config.problems import Mark
from config.tree import Keys, Node, items_at, keys_at, mark_at, text_at

_NOWHERE = Mark("configuration")


@dataclass(frozen=True, slots=True)
class Places:
    """Each method gives the Mark (its str is file:line:column) of a name, or the file as such for what is unknown."""

    sources: Mapping[str, Mark] = field(default_factory=dict)
    machines: Mapping[str, Mark] = field(default_factory=dict)
    signals: Mapping[tuple[str, str], Mark] = field(default_factory=dict)
    sinks: Mapping[str, Mark] = field(default_factory=dict)
    first: Mark = _NOWHERE

    def source(self, name: str) -> Mark:
        return self.sources.get(name, self.first)

    def machine(self, machine: str) -> Mark:
        return self.machines.get(machine, self.first)

    def signal(self, machine: str, name: str) -> Mark:
        """Of a signal that the machine named by itself: the place of the machine."""
        return self.signals.get((machine, name), self.machine(machine))

    def sink(self, name: str) -> Mark:
        return self.sinks.get(name, self.first)


def places_of(root: Keys) -> Places:
    sources, machines = keys_at(root, "sources"), items_at(root, "machines")
    sinks = {
        text_at(sink, "name") or text_at(sink, "type") or "": sink.mark for sink in items_at(root, "sinks")
    }
    return Places(
        sources={} if sources is None else {name: sources.marks[name] for name in sources.entries},
        machines={text_at(machine, "id") or "": mark_at(machine, "id") for machine in machines},
        signals={place: mark for machine in machines for place, mark in _signals(machine).items()},
        sinks=sinks,
        first=Mark(root.mark.file),
    )


def _signals(machine: Node) -> dict[tuple[str, str], Mark]:
    each = (signal for read in items_at(machine, "read") for signal in items_at(read, "signals"))
    return {(text_at(machine, "id") or "", text_at(s, "name") or ""): mark_at(s, "name") for s in each}
