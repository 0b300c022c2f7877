"""Starts on what was left behind, for the tests that damage it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from collector.journal.base import JournalFailed
from tests.journal.platter import Image

T = TypeVar("T")

ROOM: Final = 256 * 1024 * 1024
"""Bytes: a journal leaves 64 MiB of its disk to others, and browsers keep their pages at the same place."""


def memory() -> str | None:
    """Where files lie in memory, if there is such a place: where no disk is needed to show something, none is waited for.

    SHOPFLOOR_MEMORY: a folder there, of one who removes it when the tests may be ended before they can.
    """
    place = os.environ.get("SHOPFLOOR_MEMORY", "/dev/shm")
    roomy = os.access(place, os.W_OK) and shutil.disk_usage(place).free > ROOM
    return place if roomy else None


def started(folder: Path, image: Image, look: Callable[[Path], Coroutine[Any, Any, T]]) -> T:
    """What `look` says of the journal there, after as many starts as it takes: three at most. image: by the end of the name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in image.items():
        (folder / f"journal.db{name}").write_bytes(content)
    for _ in range(2):
        try:
            return asyncio.run(look(folder / "journal.db"))
        except JournalFailed as error:
            if "does not read back" not in str(error):
                raise
    return asyncio.run(look(folder / "journal.db"))
