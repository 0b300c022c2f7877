"""What a self-test found, for scripts and for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from collector.selftest.truth import Counts


class Phase(NamedTuple):
    """One thing that was tried. words: what was seen, for people. seconds: how long it took."""

    name: str
    ok: bool
    words: str
    seconds: float


@dataclass
class Result:
    """ok: nothing is missing, nothing is there twice, and every phase went as it should."""

    counts: Counts = field(default_factory=lambda: Counts(0, 0, 0, 0, 0))
    phases: list[Phase] = field(default_factory=list)
    log: str = ""

    @property
    def ok(self) -> bool:
        whole = self.counts.missing == 0 and self.counts.duplicated == 0 and self.counts.sent > 0
        return whole and all(phase.ok for phase in self.phases)

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **self.counts._asdict(), "phases": [phase._asdict() for phase in self.phases]}
