"""The ground truth: one JSON line for every value that was handed over, and for what the machines really did.

Unbuffered, one write per step: a simulator that is killed leaves a truth that ends where its wire ended. A value is
written when it was handed over (set in the address space, acknowledged by the broker), never when it was merely
planned; otherwise a collector would be blamed for what never left.
"""

import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import msgspec

from simulators.errors import SimulatorError
from simulators.live import Written
from simulators.model import StateSpan, Value

Unlike = Mapping[str, Mapping[str, Any]]


class Truth:
    """Writes the truth of one run; `emitted` counts its value rows per machine."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._encode = msgspec.json.Encoder().encode
        self._lost = ""
        self.emitted: Counter[str] = Counter()

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows in one write. SimulatorError when the disk does not take them, and from then on."""
        self.check()
        try:
            write_all(self._file, b"".join(self._encode(row) + b"\n" for row in rows))
        except SimulatorError as error:
            self._lost = str(error)
            raise

    def check(self) -> None:
        """SimulatorError if rows were lost: a truth with a hole would blame somebody for what he was never told."""
        if self._lost:
            raise SimulatorError(self._lost)

    def values(
        self, machine: str, t: int | None, values: Mapping[str, Value | None], unlike: Unlike | None = None
    ) -> None:
        """These values went out with time `t` (ns UTC; None where the wire carried no time).

        unlike: per signal what to add when the value was not sent as it truly is (`quality`, `true`, `true_t`).
        """
        more = unlike or {}
        self.rows(
            {"kind": "value", "machine": machine, "signal": n, "t": t, "value": v, **more.get(n, {})}
            for n, v in values.items()
        )
        self.emitted[machine] += len(values)

    def state(self, machine: str, span: StateSpan) -> None:
        """The machine was in this state from `from` until just before `to`."""
        self.rows(
            [{"kind": "state", "machine": machine, "state": span.state, "from": span.begin, "to": span.end}]
        )

    def written(self, machine: str, t: int, all_: Iterable[Written]) -> None:
        """Settings that somebody wrote; they count from the step at `t` on."""
        self._settings("written", machine, t, all_)

    def unheeded(self, machine: str, t: int, all_: Iterable[Written]) -> None:
        """Settings that were taken after the machine's last step, which was at `t`: they never counted."""
        self._settings("unheeded", machine, t, all_)

    def _settings(self, kind: str, machine: str, t: int, all_: Iterable[Written]) -> None:
        row = {"kind": kind, "machine": machine, "t": t}
        self.rows({**row, "by": each.who, "signal": each.signal, "value": each.value} for each in all_)


@contextmanager
def open_truth(path: Path) -> Iterator[Truth]:
    """A fresh truth file; an older one of that name is replaced. SimulatorError in words when it cannot be."""
    with fresh(path, "ab") as file:
        _alone(file)
        yield Truth(file)


def fresh(path: Path, mode: Literal["wb", "ab"] = "wb") -> FileIO:
    """A new empty file (`ab`: what is in it stays for now), and the folders above it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open(mode, buffering=0)
    except OSError as error:
        raise unwritable(path, error) from error


def _alone(file: FileIO) -> None:
    """Empty it, unless another run writes it now: each would tear the other's truth to pieces."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return
    if sys.platform != "win32":
        import fcntl

        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SimulatorError(f"{file.name}: another run writes it. Choose another --dir.") from None
    file.truncate(0)


def write_all(file: FileIO, content: bytes) -> None:
    """To the last byte: a disk that is nearly full takes a part without a word."""
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise unwritable(file.name, error) from error


def unwritable(path: object, error: OSError) -> SimulatorError:
    return SimulatorError(f"{path}: cannot be written ({error.strerror or error}).")
