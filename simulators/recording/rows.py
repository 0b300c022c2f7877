"""Files with a row per value: CSV, JSON Lines, Parquet; long (`signal`, `value`) or wide (a column per signal).

Columns are known by name: `time` (`t`, `at`, `timestamp`), `machine`, `signal` (`name`), `value`, `quality`; the collector's
export also has `kind` (CSV), `flags`, and in Parquet a column per kind. Without `signal`, every column that is not one of
these is a signal of that name. Rows are handed out one by one: no file is held in memory.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from simulators.errors import SimulatorError
from simulators.recording.times import CellError, epoch_ns, time_ns

TIMES: Final = ("time", "t", "at", "timestamp")
SIGNALS: Final = ("signal", "name")
KINDS: Final = ("number", "integer", "unsigned", "flag", "text", "waveform")
OTHERS: Final = ("machine", "value", "quality", "status_code", "kind", "unit", "flags")
NO_VALUE: Final = 1  # bit of the export's flags: the row states a quality and no value
ROWS: Final = 20_000


class Row(NamedTuple):
    """One value. t: ns since 1970 UTC. value: None where there is none. quality: good, uncertain or bad."""

    t: int
    machine: str
    signal: str
    value: Any
    quality: str


Layout = Callable[[Sequence[Any]], Iterator[Row]]
"""Makes rows of one line's cells."""


class Untyped(str):
    """Text of a file without types: it may be meant as a number, a truth value or a text."""

    __slots__ = ()


def rows(path: Path) -> Iterator[Row]:
    """All rows of a file, in its order; raises SimulatorError in words when it cannot be read."""
    readers: Mapping[str, Callable[[Path], Iterator[Row]]] = {
        ".csv": _csv,
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".parquet": _parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SimulatorError(f"{path}: the ending must be one of {', '.join(readers)}")
    try:
        yield from reader(path)
    except CellError as error:
        raise SimulatorError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise SimulatorError(f"{path}: no text in UTF-8 ({error.reason})") from error
    except OSError as error:
        raise SimulatorError(f"{path}: cannot be read ({error.strerror or error})") from error


def quality_word(cell: Any) -> str:
    """good, uncertain or bad, from the word, from a status code (OPC 10000-4, 7.39), or good where nothing is said."""
    if cell is None or cell == "":
        return "good"
    if isinstance(cell, int):
        return ("good", "uncertain", "bad", "bad")[(cell >> 30) & 3]
    word = str(cell).strip().lower()
    if word in ("good", "uncertain", "bad"):
        return word
    try:
        return quality_word(int(word, 0))
    except ValueError:
        raise CellError(f"'{cell}' is no quality: good, uncertain, bad, or a status code") from None


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        yield from _table(path, header, _whole(path, len(header), reader))


def _whole(path: Path, width: int, lines: Iterable[list[str]]) -> Iterator[list[str]]:
    for number, cells in enumerate(lines, 2):
        if len(cells) == width:
            yield cells
        elif cells:
            raise SimulatorError(f"{path}: line {number} has {len(cells)} cells, the header has {width}")


def _json_lines(path: Path) -> Iterator[Row]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    layouts: dict[tuple[str, ...], Layout] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if line.endswith(b"\n"):
                    raise SimulatorError(f"{path}:{number}: {error}") from None
                return  # the writer was killed in its last line
            names = tuple(row)
            layout = layouts.get(names) or layouts.setdefault(names, _layout(path, names))
            yield from layout(tuple(row.values()))


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise SimulatorError(
            f"{path}: reading Parquet needs pyarrow, a part of the collector: pip install shopfloor-collector"
        ) from error
    try:
        with pq.ParquetFile(path) as file:
            names = [
                n
                for n in file.schema_arrow.names
                if n not in ("seq", "server_at", "received", "unit", "tags")
            ]
            for batch in file.iter_batches(ROWS, columns=names):
                columns = [_plain(batch.column(number)) for number in range(len(names))]
                yield from _table(path, names, zip(*columns, strict=True))
    except pa.ArrowInvalid as error:
        raise SimulatorError(f"{path}: no Parquet file ({error})") from error


def _plain(column: Any) -> list[Any]:
    """Python values; timestamps as ns, because Python's own times end at microseconds."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
    return list(column.to_pylist())


def _table(path: Path, names: Sequence[str], cells: Any) -> Iterator[Row]:
    """Rows of any source, once the columns have names."""
    layout = _layout(path, tuple(names))
    for line in cells:
        yield from layout(line)


def _layout(path: Path, names: tuple[str, ...]) -> Layout:
    place = {name: number for number, name in enumerate(names)}
    time = next((place[name] for name in TIMES if name in place), None)
    if time is None:
        raise SimulatorError(
            f"{path}: no column with the time ({', '.join(TIMES)}); found: {', '.join(names)}"
        )
    signal = next((place[name] for name in SIGNALS if name in place), None)
    common = _Common(path, time, names[time] == "timestamp", place.get("machine"), place.get("quality"))
    if signal is None:
        return _Wide(
            common,
            tuple((n, p) for n, p in place.items() if p != time and n not in OTHERS[2:] and n != "machine"),
        )
    if "value" not in place and not set(KINDS) <= set(names):
        raise SimulatorError(f"{path}: no column 'value'; found: {', '.join(names)}")
    kinds = tuple(place[name] for name in KINDS) if "value" not in place else ()
    untyped = path.suffix.lower() == ".csv"
    return _Long(common, signal, place.get("value"), kinds, place.get("kind"), place.get("flags"), untyped)


@dataclass(frozen=True, slots=True)
class _Common:
    """Where the columns are that every layout has."""

    path: Path
    time: int
    epoch: bool  # bare numbers of this column are in a unit that must be guessed
    machine: int | None
    quality: int | None

    def t(self, cells: Sequence[Any]) -> int:
        cell = cells[self.time]
        if self.epoch and (
            isinstance(cell, float) or (isinstance(cell, str) and cell.replace(".", "").isdecimal())
        ):
            return epoch_ns(float(cell) if "." in str(cell) else int(cell))
        return time_ns(cell)

    def named(self, cells: Sequence[Any]) -> str:
        return self.path.stem if self.machine is None else str(cells[self.machine])

    def good(self, cells: Sequence[Any]) -> str:
        return "good" if self.quality is None else quality_word(cells[self.quality])


@dataclass(frozen=True, slots=True)
class _Wide:
    """A column per signal; an empty cell is no row."""

    common: _Common
    signals: tuple[tuple[str, int], ...]

    def __call__(self, cells: Sequence[Any]) -> Iterator[Row]:
        t, machine, quality = self.common.t(cells), self.common.named(cells), self.common.good(cells)
        for name, place in self.signals:
            cell = cells[place]
            if cell is not None and cell != "":
                yield Row(t, machine, name, Untyped(cell) if isinstance(cell, str) else cell, quality)


@dataclass(frozen=True, slots=True)
class _Long:
    """A row per value."""

    common: _Common
    signal: int
    value: int | None
    kinds: tuple[int, ...]
    kind: int | None
    flags: int | None
    untyped: bool

    def __call__(self, cells: Sequence[Any]) -> Iterator[Row]:
        common = self.common
        value = None if self._absent(cells) else self._value(cells)
        yield Row(common.t(cells), common.named(cells), str(cells[self.signal]), value, common.good(cells))

    def _absent(self, cells: Sequence[Any]) -> bool:
        if self.flags is None:
            return False
        flags = cells[self.flags]
        if isinstance(flags, int):
            return bool(flags & NO_VALUE)
        return bool(flags) and "no_value" in flags

    def _value(self, cells: Sequence[Any]) -> Any:
        if self.value is None:
            return next((cells[place] for place in self.kinds if cells[place] is not None), None)
        cell = cells[self.value]
        if not self.untyped:
            return cell
        if self.kind is None:
            return Untyped(cell) if cell != "" else None
        return typed(cell, cells[self.kind])


def typed(cell: str, kind: str) -> Any:
    """A cell of an exported CSV by its kind."""
    try:
        if kind == "number":
            return float(cell)
        if kind in ("integer", "unsigned"):
            return int(cell)
        if kind == "waveform":
            return msgspec.json.decode(cell)
    except ValueError:
        raise CellError(f"'{cell[:60]}' is no {kind}") from None
    if kind == "flag":
        return cell == "true"
    return cell if kind == "text" else None


def guess(cell: str) -> Any:
    """What an untyped cell most likely is: a number, a truth value, else a text."""
    if cell in ("true", "false"):
        return cell == "true"
    try:
        return int(cell)
    except ValueError:
        pass
    try:
        return float(cell)
    except ValueError:
        return str(cell)
