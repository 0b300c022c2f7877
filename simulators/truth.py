"""The ground truth: one JSON line for every value that was handed over, and for what the machines really did.

Unbuffered, one write per step: a simulator that is killed leaves a truth that ends where its wire ended. A value is
written when it was handed over (set in the address space, acknowledged by the broker), never when it was merely
planned; otherwise a collector would be blamed for what never left.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any

import msgspec

from simulators.live import Written
from simulators.model import StateSpan, Value

Unlike = Mapping[str, Mapping[str, Any]]


class Truth:
    """Writes the truth of one run; `emitted` counts its value rows per machine."""

    def __init__(self, file: RawIOBase) -> None:
        self._file = file
        self._encode = msgspec.json.Encoder().encode
        self.emitted: Counter[str] = Counter()

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows in one write."""
        self._file.write(b"".join(self._encode(row) + b"\n" for row in rows))

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
    """A fresh truth file; an older one of that name is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as file:
        yield Truth(file)
