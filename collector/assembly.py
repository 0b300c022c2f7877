"""Settings -> sources, refinement, sinks, archive: pure construction. Nothing connects, nothing is opened, nothing starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from adapters.base import Archive, Bench, Sink, Source
from adapters.clock import Clock
from adapters.errors import Misconfigured
from adapters.labels import Labels
from collector.configured import Changes
from collector.derive import Build
from config.settings import Settings
from pipelines.derivation import PREFIX, Circular, in_order
from pipelines.derivations.counter import Counters
from pipelines.derivations.stale import Stale
from pipelines.refinery import refinery
from pipelines.registry import Registry
from pipelines.stage import Refine, Treatments
from pipelines.stages.trust import Limits


@dataclass(frozen=True, slots=True)
class Line:
    """Everything that one running collector consists of, built and not yet connected."""

    registry: Registry
    sources: Sequence[Source]
    sinks: Sequence[Sink]
    archive: Archive | None
    treatments: Treatments
    derivations: Mapping[str, Build] = field(
        default_factory=dict
    )  # by follower name, in the order of the graph
    limits: Limits = field(default_factory=Limits)  # which times can be believed
    labels: Labels = field(default_factory=Labels)

    def refine(self) -> Refine:
        """A fresh refinement with empty session memory: one per session of a source."""
        return refinery(self.registry, self.treatments, self.limits)


def followers(settings: Settings) -> list[str]:
    """Who reads the journal: the sinks by name, the history, and the derivations."""
    archive = [HISTORY] if settings.history is not None else []
    return [sink.name for sink in settings.sinks] + archive + list(derivations(settings, Registry()))


HISTORY = "history"


def assemble(
    settings: Settings, registry: Registry, clock: Clock, state_dir: Path, *, scratch: bool = False
) -> Line:
    """Raises Misconfigured only for what cannot be known before the libraries are loaded."""
    labels = Labels(settings.labels())
    bench = Bench(registry=registry, clock=clock, state_dir=str(state_dir), scratch=scratch, labels=labels)
    return Line(
        registry=registry,
        sources=[_source(settings, name, bench) for name in settings.sources if settings.readings(name)],
        sinks=[sink.build(bench) for sink in settings.sinks],
        archive=None if settings.history is None else settings.history.build(bench),
        treatments=settings.treatments(),
        derivations=derivations(settings, registry),
        labels=labels,
    )


def derivations(settings: Settings, registry: Registry) -> dict[str, Build]:
    """By the name of its follower, how each derivation is made that anything is configured for; read ones first."""
    counters = list(settings.counters())
    stale = {signal: round(seconds * 1e9) for signal, seconds in settings.stale_after().items()}
    builds: list[Build] = [partial(Counters, registry, counters)] if counters else []
    builds += [partial(Stale, registry, stale)] if stale else []
    made = {derivation.name: build for build in builds if (derivation := build())}
    try:
        order = in_order([build() for build in builds])
    except Circular as error:
        raise Misconfigured(str(error)) from error
    return {PREFIX + derivation.name: made[derivation.name] for derivation in order}


def reassemble(changed: Changes, line: Line, bench: Bench) -> Line:
    """The line of a changed configuration: whatever stays the same is the same object, at work or not."""
    settings = changed.effective
    sources = {source.name: source for source in line.sources if source.name in changed.sources.same}
    sinks = {sink.name: sink for sink in line.sinks if sink.name in changed.sinks.same}
    return replace(
        line,
        sources=[
            sources.get(name) or _source(settings, name, bench)
            for name in settings.sources
            if settings.readings(name)
        ],
        sinks=[sinks.get(sink.name) or sink.build(bench) for sink in settings.sinks],
        treatments=settings.treatments(),
        derivations=derivations(settings, bench.registry),
    )


def _source(settings: Settings, name: str, bench: Bench) -> Source:
    return settings.sources[name].build(name, settings.readings(name), bench)
