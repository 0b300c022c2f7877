"""What is compared: the simulators' truth, and the data from a file or a database, both as columns."""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from simulators.errors import SimulatorError
from simulators.recording.rows import Row, Untyped, guess, rows
from simulators.verify.alarms import Restated, signals
from simulators.verify.columns import Coder, Columns
from simulators.verify.gaps import GapRows, Gaps, Spans

OWN: Final = "collector"
"""The machine under which a collector stores what it says about itself: no machine has that name."""


class _Everybody:
    def __contains__(self, _: object) -> bool:
        return True


EVERYBODY: Final[Container[str]] = _Everybody()


class Line(msgspec.Struct):
    """A row of the truth, as far as values and machines are concerned; see simulators/README.md."""

    kind: str
    machine: str = ""
    signal: str = ""
    t: int | None = None
    value: Any = None
    quality: str = "good"
    machines: list[dict[str, Any]] = []
    source: str = ""
    condition: str = ""
    active: bool = False
    acked: bool = False
    severity: int = 0
    message: str = ""
    event_id: str = ""
    conditions: list[dict[str, Any]] = []


@dataclass(slots=True)
class Truth:
    """timed: values with a time on the wire. bare: values without one, in order, per signal. sources: machines by source.
    restated: what may be there a second time.
    """

    timed: Columns
    bare: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    sources: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    restated: Restated = field(default_factory=Restated)

    def alarm(self, line: Line) -> None:
        """What became of an alarm, as signals."""
        for name, value in signals(msgspec.structs.asdict(line)):
            self.timed.add(line.machine, name, line.t or 0, value)
            self.restated.expected(line.machine, name, line.t or 0, value)


def read_truth(path: Path, coder: Coder, only: Container[str] = EVERYBODY) -> Truth:
    """The values that were really handed over; a last line that a killed simulator could not finish is left out. only: machines."""
    truth = Truth(Columns(coder))
    for line in _lines(path):
        try:
            _note(truth, line, coder, only)
        except (KeyError, TypeError) as error:
            raise SimulatorError(f"{path}: a row of the kind '{line.kind}' is not whole ({error})") from None
    return truth


def _note(truth: Truth, line: Line, coder: Coder, only: Container[str]) -> None:
    if line.kind == "start":
        for machine in line.machines:
            truth.sources[str(machine.get("source", machine["machine"]))].add(str(machine["machine"]))
    elif line.machine not in only:
        return
    elif line.kind == "value" and line.value is not None and line.quality == "good":
        if line.t is not None:
            truth.timed.add(line.machine, line.signal, line.t, line.value)
        else:
            truth.bare[coder.key(line.machine, line.signal)].append(coder.code(line.value))
    elif line.kind == "alarm":
        truth.alarm(line)
    elif line.kind == "refresh":
        truth.restated.note(line.machine, line.t or 0, line.conditions)


def _lines(path: Path) -> Iterator[Line]:
    decode = msgspec.json.Decoder(Line).decode
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    if line.endswith(b"\n"):
                        raise SimulatorError(f"{path}:{number}: no row of a truth ({error})") from None
    except OSError as error:
        raise SimulatorError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_data(
    place: str,
    coder: Coder,
    gaps: Gaps,
    only: Container[str] = EVERYBODY,
    restated: Restated | None = None,
) -> Columns:
    """Good values of these machines, from a file or `http://…?db=…`; the collector's own gap records go to `gaps`."""
    said = Restated() if restated is None else restated
    if "://" in place:
        from simulators.verify.influx import influx_rows

        return _columns(influx_rows(place, gaps), coder, gaps, only, said)
    return _columns(rows(Path(place)), coder, gaps, only, said)


def _columns(
    found: Iterable[Row], coder: Coder, gaps: Gaps, only: Container[str], restated: Restated
) -> Columns:
    columns, own = Columns(coder), GapRows()
    for row in found:
        if row.machine == OWN:
            own.note(row.signal, row.t, row.value)
            if row.signal.startswith("restated."):
                restated.times.add(row.t)
        elif row.value is not None and row.quality == "good" and row.machine in only:
            value = guess(row.value) if isinstance(row.value, Untyped) else row.value
            if value != value:  # noqa: PLR0124 - NaN: the truth has none either, for JSON cannot say it
                continue
            if not restated.holds(row.machine, row.signal, row.t, value):
                columns.add(row.machine, row.signal, row.t, value)
    gaps.extend(own.gaps())
    return columns


def source_options(given: Iterable[str]) -> Mapping[str, set[str]]:
    """`--source broker=energy-1,compressor-1` as machines by source."""
    found = {}
    for text in given:
        source, equals, machines = text.partition("=")
        if not equals or not source or not machines:
            raise SimulatorError(f"--source {text}: write SOURCE=MACHINE,MACHINE")
        found[source] = set(machines.split(","))
    return found


def excuses(
    gaps: Gaps, truth: Truth, coder: Coder, given: Iterable[str]
) -> tuple[Mapping[str, Spans], set[str]]:
    """What gap records excuse, by machine, and the sources nobody knows. A source named as a machine is that machine's."""
    own = {machine: {machine} for machine, _ in coder.signals}
    return gaps.by_machine({**own, **truth.sources, **source_options(given)})
