"""`run --watch`: the configuration's files are looked at every two seconds, and a change is a reload.

By polling and without a library: it works on every system and network drive, and a dozen `stat` calls cost nothing.
A file that an editor is still writing is waited for, so that half a file is not told as a mistake.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from adapters.clock import Clock
from collector.reload import Reload
from config.merge import files_of
from config.problems import Findings

EVERY = 2.0
SETTLED = 0.3
"""Seconds for which the files must stay the same before they are read."""
AGAIN = 30.0
"""Seconds until a configuration that only a peer has refused is tried again."""

Print = tuple[Any, ...]


class Prints:
    """What the files look like: time and size at every look, the content's hash when one of these moved."""

    def __init__(self, paths: Sequence[Path], more: Callable[[], Iterable[Path]]) -> None:
        self._paths, self._more = paths, more
        self._hashes: dict[Path, tuple[Print, str]] = {}

    def taken(self) -> Print:
        """Equal exactly when the same files have the same content. Files that were added to a folder count."""
        files = dict.fromkeys([*files_of(self._paths, Findings()), *self._more()])
        return tuple((str(file), self._hash(file)) for file in sorted(files))

    def _hash(self, file: Path) -> str:
        try:
            found = file.stat()
            look: Print = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
            if self._hashes.get(file, ((), ""))[0] != look:
                self._hashes[file] = (look, hashlib.sha256(file.read_bytes()).hexdigest())
        except OSError as error:  # gone, or not ours to read: that is a look of its own, and loading says why
            return str(error.errno)
        return self._hashes[file][1]


async def watch(reload: Reload, paths: Sequence[Path], clock: Clock, *, probe: bool = True) -> None:
    """Until cancelled."""
    prints = Prints(paths, lambda: reload.read_files)
    known = await asyncio.to_thread(prints.taken)
    again: float | None = None
    while True:
        await clock.sleep(EVERY)
        found = await asyncio.to_thread(prints.taken)
        if found == known and (again is None or clock.monotonic() < again):
            continue
        known = await _settled(prints, found, clock)
        outcome = await reload(probe=probe)
        known = await _with_new_files(prints, known)
        again = clock.monotonic() + AGAIN if outcome.get("by_peer") else None


async def _settled(prints: Prints, found: Print, clock: Clock) -> Print:
    while True:
        await clock.sleep(SETTLED)
        now = await asyncio.to_thread(prints.taken)
        if now == found:
            return now
        found = now


async def _with_new_files(prints: Prints, known: Print) -> Print:
    """Reading may have found lists and secrets that were not watched yet; a change since then is still a change."""
    now = await asyncio.to_thread(prints.taken)
    before = dict(known)
    return tuple((name, before.get(name, look)) for name, look in now)
