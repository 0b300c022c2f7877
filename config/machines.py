"""The machines of a file, written out: variables, references, the short form and signal lists resolved, in that order.

First `for_each`, so that `${env:PASSWORD_{n}}` and `signals_file: mill-{n}.csv` mean what they say; references after it,
so that no content of a secret is ever taken for a variable; the cells of signal lists get the variables, not the references.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adapters.settings import ReadSettings
from config.expand import Expander
from config.for_each import Values, expanded, substituted
from config.problems import Findings
from config.settings import Machine
from config.shapes import Reads, signal_fields
from config.signals_csv import read_signals
from config.tree import Items, Keys, Node, items_at, keys_at, mark_at, text_at

_OF_A_READ = ("source", "signals", "signals_file")


class Writer:
    """Writes machines out. `files` are the signal lists that were read, each once."""

    def __init__(self, reads: Reads, expander: Expander, findings: Findings) -> None:
        self._reads = reads
        self._expander = expander
        self._findings = findings
        self._lists: dict[tuple[Path, str], Items | None] = {}

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(path for path, _ in self._lists))

    def all(self, machines: Items) -> Items:
        return Items(tuple(self._written_out(machines)), machines.mark)

    def _written_out(self, machines: Items) -> Iterator[Node]:
        for entry in machines.items:
            for machine, values in expanded(entry, self._findings):
                yield self._machine(self._expander.tree(machine), values)

    def _machine(self, machine: Node, values: Values) -> Node:
        if not isinstance(machine, Keys):
            return machine
        machine = self._long_form(self._without_profile(machine))
        reads = machine.entries.get("read")
        if not isinstance(reads, Items):
            return machine
        listed = tuple(self._read(read, values) for read in reads.items)
        return machine.having("read", Items(listed, reads.mark), machine.marks["read"])

    def _without_profile(self, keys: Keys) -> Keys:
        if "profile" in keys.entries:
            message = "profile: is not available yet"
            self._findings.error(keys.marks["profile"], message, "list the signals, or name a signals_file")
        return keys.without("profile")

    def _long_form(self, machine: Keys) -> Keys:
        """A machine with `source:` of its own as a machine with one read entry, which stands in the machine's place."""
        given = next((key for key in _OF_A_READ if key in machine.entries), None)
        if given is None:
            return machine
        if "read" in machine.entries:
            message = f"{given}: and read: cannot stand side by side in one machine"
            self._findings.error(machine.marks[given], message, "move it into an entry of read:")
            return machine.without(*_OF_A_READ)
        moved = self._keys_of_read(machine)
        read = machine.without(*(key for key in machine.entries if key not in moved))
        rest = machine.without(*moved)
        return rest.having("read", Items((read,), machine.mark), machine.marks[given])

    def _keys_of_read(self, machine: Keys) -> set[str]:
        model = self._reads.get(text_at(machine, "source") or "")
        possible = {*_OF_A_READ, *(model.model_fields if model is not None else ())}
        own = set(Machine.model_fields) - {"read"}
        return {key for key in machine.entries if key in possible - own}

    def _read(self, read: Node, values: Values) -> Node:
        if not isinstance(read, Keys):
            return read
        read = self._without_profile(read)
        name = text_at(read, "signals_file")
        rows = None if not name else self._signals(name, read)
        if rows is None:
            return read
        listed = substituted(rows, values)
        together = (*items_at(read, "signals"), *(listed.items if isinstance(listed, Items) else ()))
        place = read.marks.get("signals", read.marks["signals_file"])
        return read.having("signals", Items(together, rows.mark), place)

    def _signals(self, name: str, read: Keys) -> Items | None:
        mark = mark_at(read, "signals_file")
        source = text_at(read, "source") or ""
        path = Path(mark.file).parent / name
        if (path, source) not in self._lists:
            if not _is_file(path):
                hint = f"a relative path begins at the folder of {Path(mark.file).name}"
                self._findings.error(mark, f"signals_file: there is no file {name}", hint)
            self._lists[path, source] = self._rows(path, source)
        return self._lists[path, source]

    def _rows(self, path: Path, source: str) -> Items | None:
        if not _is_file(path):
            return None
        return read_signals(path, str(path), signal_fields(self._reads.get(source)), self._findings)


def read_models_of(root: Keys, types: Reads) -> dict[str, type[ReadSettings]]:
    """By the name of a source, the model of its read entries; sources of unknown type are left out."""
    sources = keys_at(root, "sources")
    named = {} if sources is None else sources.entries
    known = {name: types.get(text_at(node, "type") or "") for name, node in named.items()}
    return {name: model for name, model in known.items() if model is not None}


def _is_file(path: Path) -> bool:
    """Also for names that no file can have (too long, with a NUL)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
