"""What a machine shows in the words of a companion specification: which parts it has, and where their values come from.

Mandatory parts are there by themselves, as the type declares them; a layout names what is optional, what stands in for a
placeholder, and the values. A place that the specification does not know is refused, so a layout cannot invent anything.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, NamedTuple

from simulators.errors import SimulatorError
from simulators.faces.spaces.table import MANDATORY, PLACEHOLDERS, Book, Declared, Key, Name
from simulators.model import Value

Values = Mapping[str, Value]
Rule = Callable[[Values], Any]
ORGANIZES: Final = 35
HAS_COMPONENT: Final = 47


def number(value: Value) -> float:
    """A value of which one knows that it is a number."""
    return float(value) if isinstance(value, int | float) else 0.0


class Place(NamedTuple):
    """A type, and the name of the placeholder that an instance of it stands for (`<Tool>`)."""

    uri: str
    type: str
    of: str


@dataclass(frozen=True, slots=True)
class Part:
    """A place below the machine, `Monitoring/MachineTool/FeedOverride`, and what is there.

    value: fixed. signal: of the machine, with its unit and range. rule: what follows from the signals. state: the name of the
    state of a state machine. fills: it is one of many. unit, low, high: of a value that is no signal.
    """

    path: str
    value: Any = None
    signal: str = ""
    rule: Rule | None = None
    state: Rule | None = None
    fills: Place | None = None
    unit: str = ""
    span: tuple[float, float] | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A reference between two parts, such as which axis a motor moves. by: its type, by namespace and name."""

    source: str
    by: tuple[str, str]
    target: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A machine of a type, in the folder where machines of its specification are found. by: the reference from there."""

    tables: tuple[str, ...]
    folder: str
    entry: Key
    uri: str
    type: str
    name: str
    parts: tuple[Part, ...]
    by: int = ORGANIZES
    links: tuple[Link, ...] = ()


@dataclass(slots=True)
class Grown:
    """A node of the machine. name.uri: empty for a name that the machine gave itself. builtin: what its values travel as."""

    path: str
    name: Name
    kind: str
    by: int
    type: Key | None
    layers: tuple[Declared, ...]
    part: Part | None
    data: Key | None = None
    rank: int = -1
    builtin: int = 0

    @property
    def above(self) -> str:
        return self.path.rpartition("/")[0]


@dataclass(slots=True)
class Growth:
    """Grows a layout into nodes, parents before children."""

    book: Book
    layout: Layout
    parts: dict[str, Part] = field(init=False)
    kinds: dict[str, Key] = field(default_factory=dict)  # the type of each place
    _wanted: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.parts = {part.path: part for part in self.layout.parts}
        self._wanted = {prefix for path in self.parts for prefix in _prefixes(path)}

    def nodes(self) -> Iterator[Grown]:
        """All nodes; SimulatorError where the layout names what its type does not declare."""
        root = self.book.declared[self.book.type(self.layout.uri, self.layout.type)]
        grown = Grown("", Name("", self.layout.name), "Object", self.layout.by, root.key, (root,), None)
        left = self._wanted
        for node in chain((grown,), self._below(grown)):
            left.discard(node.path)
            if node.type is not None:
                self.kinds[node.path] = node.type
            yield node
        if left:
            raise SimulatorError(f"{self.layout.type} declares no {', '.join(sorted(left))}")

    def states(self, path: str) -> Mapping[str, tuple[Key, int]]:
        """The states of the state machine that has grown there."""
        return self.book.states(self.kinds[path])

    def _below(self, above: Grown) -> Iterator[Grown]:
        more = above.type if above.part is not None and above.part.fills is not None else None
        for text, layers in self.book.members(above.layers, more).items():
            for node in self._instances(above, text, layers):
                yield node
                yield from self._below(node)

    def _instances(self, above: Grown, text: str, layers: tuple[Declared, ...]) -> Iterator[Grown]:
        prefix = f"{above.path}/" if above.path else ""
        if layers[-1].rule in PLACEHOLDERS or text.startswith("<"):
            for part in self.layout.parts:
                if part.fills is not None and part.fills.of == text and _parent(part.path) == above.path:
                    own = "" if text.startswith("<") else layers[-1].name.uri  # InjectionUnit_<Nr> is theirs
                    name = Name(own, part.path.rpartition("/")[2])
                    yield self._node(part.path, name, layers, self.book.type(part.fills.uri, part.fills.type))
        elif any(each.rule == MANDATORY for each in layers) or prefix + text in self._wanted:
            yield self._node(prefix + text, layers[-1].name, layers, layers[-1].type)

    def _node(self, path: str, name: Name, layers: tuple[Declared, ...], kind: Key | None) -> Grown:
        last = layers[-1]
        data = last.data
        if last.kind == "Variable" and kind is not None:
            data = data or next((each.data for each in self.book.chain(kind) if each.data), None)
        builtin = self.book.builtin(data) if last.kind == "Variable" else 0
        part = self.parts.get(path)
        return Grown(path, name, last.kind, last.by, kind, layers, part, data, last.rank, builtin)


def _prefixes(path: str) -> Iterator[str]:
    words = path.split("/")
    return ("/".join(words[:depth]) for depth in range(1, len(words) + 1))


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
