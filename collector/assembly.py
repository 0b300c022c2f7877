"""Settings -> sources, refinement, sinks, archive: pure construction. Nothing connects, nothing is opened, nothing starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.base import Archive, Bench, Sink, Source
from adapters.clock import Clock
from collector.configured import Changes
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
        sources=[_source(settings, name, bench) for name in settings.sources if settings.readings(name)],
        sinks=[sink.build(bench) for sink in settings.sinks],
        archive=None if settings.history is None else settings.history.build(bench),
        treatments=settings.treatments(),
    )


def reassemble(changed: Changes, line: Line, bench: Bench) -> Line:
    """The line of a changed configuration: whatever stays the same is the same object, at work or not."""
    settings = changed.effective
    sources = {source.name: source for source in line.sources if source.name in changed.sources.same}
    sinks = {sink.name: sink for sink in line.sinks if sink.name in changed.sinks.same}
    return Line(
        registry=line.registry,
        sources=[
            sources.get(name) or _source(settings, name, bench)
            for name in settings.sources
            if settings.readings(name)
        ],
        sinks=[sinks.get(sink.name) or sink.build(bench) for sink in settings.sinks],
        archive=line.archive,
        treatments=settings.treatments(),
    )


def _source(settings: Settings, name: str, bench: Bench) -> Source:
    return settings.sources[name].build(name, settings.readings(name), bench)
