"""A machine as a file: JSON Lines or CSV, a row per value, as `collector export` writes and `replay` reads."""

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import ClassVar

import msgspec

from simulators.faces.base import unlike
from simulators.model import INTEGERS, Model, Signal, Type, Value
from simulators.truth import Truth, fresh, write_all

COLUMNS = ("time", "machine", "signal", "value", "quality")
KIND = "kind"  # in CSV, where an empty text looks like no value
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_text(at_ns: int) -> str:
    """RFC 3339 with milliseconds: a simulated time has no more."""
    moment = EPOCH + timedelta(milliseconds=at_ns // 1_000_000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class FileFace:
    """Appends rows, one write per step. Built by `open_file`."""

    disturbances: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, model: Model, truth: Truth, file: FileIO, form: str) -> None:
        self._model, self._truth, self._file, self._form = model, truth, file, form
        if form == "csv":
            write_all(file, _csv([[*COLUMNS, KIND]]))
        self._kinds = {signal.name: _kind(signal) for signal in model.signals}

    async def begin(self, at_ns: int, values: Mapping[str, Value]) -> None:
        await self.emit(at_ns, values, values)

    async def emit(self, at_ns: int, changed: Mapping[str, Value], values: Mapping[str, Value]) -> None:
        rows = [self._row(at_ns, name, value) for name, value in changed.items()]
        write_all(self._file, _json(rows) if self._form == "jsonl" else _csv(map(self._cells, rows)))
        self._truth.values(self._model.machine, at_ns, changed, unlike(self._model, changed))

    async def disturb(self, fault: str, *, on: bool, at_ns: int) -> None:
        """None is known."""

    async def drain(self, seconds: float) -> None:
        """A file has no readers that it must wait for."""

    def _row(self, at_ns: int, name: str, value: Value) -> list[object]:
        return [time_text(at_ns), self._model.machine, name, value, self._model.quality_of(name)]

    def _cells(self, row: list[object]) -> list[object]:
        """CSV knows only text: truth values and waveforms as JSON writes them."""
        value = row[3]
        written = msgspec.json.encode(value).decode() if isinstance(value, bool | tuple) else value
        return [*row[:3], written, row[4], self._kinds[str(row[2])]]


def _kind(signal: Signal) -> str:
    """As `collector export` names it."""
    if signal.length:
        return "waveform"
    if signal.type in INTEGERS:
        return "integer"
    return {Type.BOOLEAN: "flag", Type.STRING: "text"}.get(signal.type, "number")


def _json(rows: list[list[object]]) -> bytes:
    return b"".join(msgspec.json.encode(dict(zip(COLUMNS, row, strict=True))) + b"\n" for row in rows)


def _csv(rows: object) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)  # type: ignore[arg-type]
    return text.getvalue().encode()


@contextmanager
def open_file(model: Model, truth: Truth, folder: Path, form: str) -> Iterator[tuple[FileFace, str]]:
    """A fresh file `<machine>.<form>` in the folder; yields the face and the file's URL."""
    with fresh(folder / f"{model.machine}.{form}") as file:
        yield FileFace(model, truth, file, form), Path(file.name).absolute().as_uri()
