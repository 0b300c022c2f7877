"""Settings -> sources, refinement, sinks, archive: pure construction. Nothing connects, nothing is opened, nothing starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.base import Archive, Bench, Sink, Source
from adapters.clock import Clock
from config.settings import Settings
from pipelines.refinery import refinery
from pipelines.registry import Registry
from pipelines.stage import Refine, Treatments


@dataclass(frozen=True, slots=True)
class Line:
    """Everything that one running collector consists of, built and not yet connected."""

    registry: Registry
    sources: Sequence[Source]
    sinks: Sequence[Sink]
    archive: Archive | None
    treatments: Treatments

    def refine(self) -> Refine:
        """A fresh refinement with empty session memory: one per session of a source."""
        return refinery(self.registry, self.treatments)


def followers(settings: Settings) -> list[str]:
    """Who reads the journal: the sinks by name, and the history."""
    archive = [HISTORY] if settings.history is not None else []
    return [sink.name for sink in settings.sinks] + archive


HISTORY = "history"


def assemble(
    settings: Settings, registry: Registry, clock: Clock, state_dir: Path, *, scratch: bool = False
) -> Line:
    """Raises Misconfigured only for what cannot be known before the libraries are loaded."""
    bench = Bench(registry=registry, clock=clock, state_dir=str(state_dir), scratch=scratch)
    return Line(
        registry=registry,
        sources=[
            source.build(name, settings.readings(name), bench)
            for name, source in settings.sources.items()
            if settings.readings(name)
        ],
        sinks=[sink.build(bench) for sink in settings.sinks],
        archive=None if settings.history is None else settings.history.build(bench),
        treatments=settings.treatments(),
    )
