"""What no single key can be blamed for: names that clash, names that refer to nothing, things that nobody uses.

Checked on the tree and not on the finished settings, so that these problems are listed beside all others even when
something else prevents settings from being made at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from config.problems import Findings, Mark, did_you_mean
from config.settings import RESERVED
from config.tree import Keys, Node, items_at, keys_at, mark_at, text_at
from pipelines.derivation import PREFIX
from pipelines.derivations.counter import EVENT
from pipelines.units import known_unit_problem


def check(root: Keys, findings: Findings) -> None:
    """Every relation between the parts of the configuration."""
    _machines(root, findings)
    _sources(root, findings)
    _sinks(root, findings)
    for machine in items_at(root, "machines"):
        _signals(machine, findings)
        _events(machine, findings)
    _units(root, findings)


def reads_of(machine: Node) -> tuple[Node, ...]:
    return items_at(machine, "read")


OWN = "collector"
"""The collector keeps an account and a machine of its own under this name: gaps, connections, its condition."""


def _machines(root: Keys, findings: Findings) -> None:
    machines = items_at(root, "machines")
    if not machines and not isinstance(root.entries.get("machines"), Keys):
        findings.error(mark_at(root, "machines"), "there are no machines", "add machines: with at least one")
    first: dict[str, Mark] = {}
    for machine in machines:
        mark, name = mark_at(machine, "id"), text_at(machine, "id")
        if name is not None and name in first:
            findings.error(
                mark,
                f"two machines have the id {name}: first in {_line(first[name])}",
                _unlike(mark, first[name]),
            )
        first.setdefault(name or "", mark)
        if name == OWN:
            message = f"the id {OWN} belongs to what the collector says of itself (gaps, connections)"
            findings.error(mark, message, "give the machine another id")
        if isinstance(machine, Keys) and not reads_of(machine):
            findings.error(
                machine.mark, f"the machine {name or ''} reads nothing".replace("  ", " "), _HOW_TO_READ
            )


_HOW_TO_READ = "name its source and signals: {id: cnc-1, source: plc, signals: […]}, or a list beneath read:"


def _unlike(mark: Mark, first: Mark) -> str:
    return "put the variable into it: id: mill-{n}" if mark == first else "give one of the two another id"


def _sources(root: Keys, findings: Findings) -> None:
    sources = keys_at(root, "sources") or Keys({}, {}, root.mark)
    used: set[str] = set()
    for machine in items_at(root, "machines"):
        for read in reads_of(machine):
            name = text_at(read, "source")
            used.add(name or "")
            if name is None and isinstance(read, Keys):
                said = "must be text" if "source" in read.entries else "is missing"
                findings.error(
                    mark_at(read, "source"), f"source {said}", "add source: with one of the sources"
                )
            if name is not None and name not in sources.entries:
                hint = did_you_mean(name, sources.entries) or "add it beneath sources:"
                findings.error(mark_at(read, "source"), f"there is no source {name!r}", hint)
    for name in sources.entries:
        if name == OWN:
            message = f"the name {OWN} belongs to the collector's own account"
            findings.error(sources.marks[name], message, "give the source another name")
        if name.startswith(PREFIX):
            message = f"names that begin with {PREFIX} belong to what the collector computes itself"
            findings.error(sources.marks[name], message, "give the source another name")
        if name not in used:
            findings.warning(
                sources.marks[name], f"no machine reads from the source {name}", "remove it, or use it"
            )


def _sinks(root: Keys, findings: Findings) -> None:
    first: dict[str, Mark] = {}
    for sink in items_at(root, "sinks"):
        name = text_at(sink, "name") or text_at(sink, "type")
        mark = mark_at(sink, "name")
        owner = "the built-in history" if name == RESERVED else "what the collector computes itself"
        if name is not None and (name == RESERVED or name.startswith(PREFIX)):
            findings.error(mark, f"the name {name} belongs to {owner}", "give the sink another name")
        elif name is not None and name in first:
            message = f"two sinks are named {name}: first in {_line(first[name])}"
            findings.error(mark, message, "give one of them a name: of its own")
        first.setdefault(name or "", mark)
    if not items_at(root, "sinks") and text_at(root, "history") == "off":
        findings.warning(mark_at(root, "history"), "without sinks and history nothing is kept", "add a sink")


def _signals(machine: Node, findings: Findings) -> None:
    first: dict[str, Mark] = {}
    for mark, name in (named for signal in _each(reads_of(machine)) for named in _names(signal)):
        if not name.isprintable():
            findings.error(mark, "name: control characters (line breaks, tabs …) are not allowed here")
        if name in first:
            message = f"two signals of one machine are named {name}: first in {_line(first[name])}"
            findings.error(mark, message, "give one of the two another name")
        first.setdefault(name, mark)


def _events(machine: Node, findings: Findings) -> None:
    """What one entry's refresh does not bring is over: two entries must not speak of the same conditions."""
    first: dict[str, Mark] = {}
    for entry in (entry for read in reads_of(machine) for entry in items_at(read, "events")):
        name, mark = text_at(entry, "name") or "alarm", mark_at(entry, "name")
        if name in first:
            message = f"two event entries of one machine are named {name}: first in {_line(first[name])}"
            findings.error(mark, message, "give one of them a name: of its own")
        first.setdefault(name, mark)


def _names(signal: Node) -> Iterator[tuple[Mark, str]]:
    """The signal's own name, and those of the signals that are derived from it."""
    if name := text_at(signal, "name"):
        yield mark_at(signal, "name"), name
    counter = keys_at(signal, "counter")
    for node, key in ((signal, "increments"), (counter, "name")):
        made = text_at(node, key)
        if node is not None and made:
            yield mark_at(node, key), made
            yield mark_at(node, key), made + EVENT
    if counter is not None and (rework := text_at(counter, "rework")):
        yield mark_at(counter, "rework"), rework


def _each(reads: Sequence[Node]) -> Iterator[Node]:
    for read in reads:
        yield from items_at(read, "signals")


def _units(root: Keys, findings: Findings) -> None:
    """Every spelling is judged once, wherever it stands: a list may have thousands of signals and four units."""
    places: dict[str, list[Mark]] = {}
    for machine in items_at(root, "machines"):
        for signal in _each(reads_of(machine)):
            places.setdefault(text_at(signal, "unit") or "", []).append(mark_at(signal, "unit"))
    for text, marks in places.items():
        wrong, _, meant = (known_unit_problem(text) or "").partition("; ")
        for mark in marks if wrong else ():
            findings.error(mark, f"unit: {wrong}", meant)


def _line(mark: Mark) -> str:
    return f"{mark.file}:{mark.line}"
