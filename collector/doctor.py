"""`collector doctor SOURCE`: one source of the configuration, examined step by step as it answers."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast

from adapters.base import Doctor, Finding
from adapters.clock import SystemClock
from adapters.errors import AdapterError
from collector.assembly import assemble
from collector.probe import state_folder
from pipelines.registry import Registry

if TYPE_CHECKING:
    from config.settings import Settings

PATIENCE: Final = 120.0
"""Seconds that all steps together may take: a slow server needs 8 s for an answer."""

_SLOW: Final = "Is the network slow or cut? Some servers need a restart when nobody has signed out for long."


async def examine(settings: Settings, name: str) -> AsyncIterator[Finding]:
    """What is found, in order, as soon as it is. Ends with an error if the source takes longer than PATIENCE."""
    with tempfile.TemporaryDirectory() as scratch:
        line = assemble(settings, Registry(), SystemClock(), state_folder(settings, scratch), scratch=True)
        source = next((one for one in line.sources if one.name == name), None)
        if source is None:
            yield Finding(
                "error", "configuration", f"no machine reads from {name}", "give a machine a `read:` of it"
            )
        elif not isinstance(source, Doctor):
            yield Finding("error", "configuration", f"{name} is no source that can be examined")
        else:
            async for finding in _in_time(source):
                yield finding


async def _in_time(source: Doctor) -> AsyncIterator[Finding]:
    try:
        async with asyncio.timeout(PATIENCE), aclosing(cast("Any", source.examine())) as findings:
            async for finding in findings:
                yield finding
    except AdapterError as error:
        yield Finding("error", "connection", str(error), error.remedy)
    except TimeoutError:
        yield Finding("error", "connection", f"no complete answer within {PATIENCE:.0f} s", _SLOW)
