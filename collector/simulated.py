"""Simulated machines as a subprocess: they speak only over their sockets, as real ones do (the island stays an island)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.awake import patient
from collector.system import child_options

READY = 120.0
"""Seconds that the simulators may take to listen: a busy computer needs many just to load them."""


class SimulatorsFailed(Exception):
    """They did not start; the message carries what they said."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """config: a matching collector configuration. truth: what really happens, as JSON Lines."""

    config: Path
    truth: Path
    endpoints: Mapping[str, str]


@asynccontextmanager
async def simulated(
    machines: Sequence[str], folder: Path, *, seed: int, beside: bool = False
) -> AsyncIterator[Workshop]:
    """Running simulators, stopped on leaving. Raises SimulatorsFailed.

    beside: their configuration is to be read together with another one; every machine has the tag `simulated`.
    """
    command = [
        sys.executable,
        "-P",
        "-m",
        "simulators",
        "run",
        *machines,
        "--seed",
        str(seed),
        "--dir",
        str(folder),
        "--leash",
        *(["--beside"] if beside else []),
    ]
    pipe = asyncio.subprocess.PIPE  # theirs ends with us, however we end: they must not live on by themselves
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, **child_options())
    try:
        yield _workshop(await _ready_line(child))
    finally:
        if child.returncode is None:
            child.terminate()
        await _ended(child)


async def _ready_line(child: asyncio.subprocess.Process) -> bytes:
    if child.stdout is None:
        raise SimulatorsFailed("the simulators have no output")
    try:
        async with patient(READY):
            line = await child.stdout.readline()
    except TimeoutError as error:
        raise SimulatorsFailed(f"the simulators were not ready within {READY:.0f} s") from error
    if not line:
        raise SimulatorsFailed("the simulators ended before they were ready; their words are above")
    return line


def _workshop(line: bytes) -> Workshop:
    ready = json.loads(line)
    return Workshop(Path(ready["config"]), Path(ready["truth"]), ready["endpoints"])


async def _ended(child: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(10):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
