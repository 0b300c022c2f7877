"""Starts on what was left behind, for the tests that damage it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from collector.journal.base import JournalFailed
from tests.journal.platter import Image

T = TypeVar("T")


def memory() -> str | None:
    """Where files lie in memory, if there is such a place: where no disk is needed to show something, none is waited for."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


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
