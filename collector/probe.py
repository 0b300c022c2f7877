"""`check --online`: asks every source and sink at once what it finds; one that does not answer delays no other."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from adapters.base import Finding, Sink, Source
from adapters.clock import SystemClock
from adapters.errors import AdapterError
from collector.assembly import assemble
from config.settings import Settings
from pipelines.registry import Registry

PATIENCE = 30.0
"""Seconds that one peer may take to answer all questions."""


async def probe_all(settings: Settings) -> Sequence[Finding]:
    """Findings of every source, then of every sink, in the order of the configuration."""
    with tempfile.TemporaryDirectory() as scratch:
        line = assemble(settings, Registry(), SystemClock(), state_folder(settings, scratch), scratch=True)
        return await ask_all([*line.sources, *line.sinks], PATIENCE)


async def ask_all(peers: Sequence[Source | Sink], patience: float) -> Sequence[Finding]:
    """What all of these find, asked at the same time, in their order. patience: s for each."""
    answers = await asyncio.gather(*(_ask(peer, patience) for peer in peers))
    return [finding for answer in answers for finding in answer]


async def _ask(peer: Source | Sink, patience: float) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(patience):
            return await peer.probe()
    except AdapterError as error:
        return [Finding("error", peer.name, str(error), error.remedy)]
    except TimeoutError:
        return [
            Finding(
                "error",
                peer.name,
                f"no complete answer within {patience:.0f} s",
                "Is the network slow or cut?",
            )
        ]


def state_folder(settings: Settings, scratch: str) -> Path:
    """The state folder if there is one (own certificates are in it); a probe makes none."""
    state = Path(settings.state)
    return state if state.is_dir() else Path(scratch)
