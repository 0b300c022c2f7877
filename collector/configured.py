"""What is configured and at work, and what another configuration would change: pure comparison, nothing is done here.

Compared are the settings models themselves, secrets included: a source is its settings and its readings with every signal's
treatment, so one changed deadband restarts one source, and a changed password of another one nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from config.settings import Settings
from pipelines.derivation import PREFIX

AT_RUN_TIME = frozenset({"version", "location", "sources", "machines", "sinks"})
"""Parts of the configuration that a reload applies; all others are said by name and wait for a restart."""


@dataclass(slots=True)
class ConfigState:
    """settings: what is at work. hash: of it, without secrets. loaded_at: ns. rejected: why the newest file is not at work."""

    settings: Settings
    hash: str
    loaded_at: int
    rejected: Sequence[Mapping[str, Any]] = ()
    needs_restart: Sequence[str] = ()
    told: str = field(default="", repr=False)  # the last rejection that the log has seen

    def as_json(self) -> dict[str, Any]:
        return {
            "hash": self.hash,
            "loaded_at": self.loaded_at,
            "rejected": [dict(problem) for problem in self.rejected],
            "needs_restart": list(self.needs_restart),
        }


def state_of(settings: Settings, now: int) -> ConfigState:
    return ConfigState(settings, hash_of(settings), now)


def hash_of(settings: Settings) -> str:
    """Twelve hex digits: the same settings have the same on every computer. Secrets are masked before, not hashed."""
    text = settings.model_dump_json(serialize_as_any=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Part:
    """Names of sources or sinks by what happens to them."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    same: tuple[str, ...] = ()

    @property
    def ended(self) -> tuple[str, ...]:
        return (*self.changed, *self.removed)

    @property
    def begun(self) -> tuple[str, ...]:
        return (*self.added, *self.changed)


@dataclass(frozen=True, slots=True)
class Changes:
    """effective: the new settings as far as they can be applied now. needs_restart: the parts that cannot."""

    effective: Settings
    sources: Part
    sinks: Part
    needs_restart: tuple[str, ...]
    derivations: Part = Part()

    @property
    def ended(self) -> tuple[str, ...]:
        return (*self.sources.ended, *self.sinks.ended, *self.derivations.ended)

    @property
    def begun(self) -> tuple[str, ...]:
        return (*self.sources.begun, *self.sinks.begun, *self.derivations.begun)


def changes(old: Settings, new: Settings) -> Changes:
    """old: what is at work."""
    fixed = [name for name in type(old).model_fields if name not in AT_RUN_TIME]
    waiting = tuple(name for name in fixed if getattr(old, name) != getattr(new, name))
    effective = new.model_copy(update={name: getattr(old, name) for name in fixed})
    return Changes(
        effective,
        _compared(_sources(old), _sources(effective)),
        _compared({sink.name: sink for sink in old.sinks}, {sink.name: sink for sink in effective.sinks}),
        waiting,
        _compared(_derivations(old), _derivations(effective)),
    )


def _sources(settings: Settings) -> dict[str, Any]:
    """Only those that anything is read from, as assembly builds them."""
    read = {name: settings.readings(name) for name in settings.sources}
    return {name: (source, read[name]) for name, source in settings.sources.items() if read[name]}


def _derivations(settings: Settings) -> dict[str, Any]:
    """By follower name, whatever is configured for it."""
    configured = {"counter": tuple(settings.counters()), "stale": settings.stale_after()}
    return {PREFIX + name: what for name, what in configured.items() if what}


def _compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> Part:
    return Part(
        added=tuple(name for name in new if name not in old),
        changed=tuple(name for name in new if name in old and old[name] != new[name]),
        removed=tuple(name for name in old if name not in new),
        same=tuple(name for name in new if name in old and old[name] == new[name]),
    )
