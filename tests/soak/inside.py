"""`collector` with a look at its own heap, for the long run only: `python -m tests.soak.inside run …`.

Resident memory breathes by megabytes with every sealing of the history, because an allocator gives pages back when it likes;
what is in use does not. So Python and pyarrow are told to take all of theirs from the C library (`ENVIRONMENT`), and that one
is asked how many bytes it has given out: mallinfo(3), all arenas, `uordblks` and `hblkhd`. Circles of objects that nobody
needs any more lie about for a minute or two, some megabytes of them, until Python looks for them by itself: so it is told
to look before every figure. What is left in circles then is a leak.

Some tables below us have a bound and reach it only after hours, in steps that look like a leak (`fill`): they are filled
before anything is measured. That hides nothing: what is kept for good is kept beside them.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import itertools
import os
import runpy
import sys
import threading
import time
from pathlib import Path
from typing import Final

import numpy as np

ENVIRONMENT: Final = {
    "PYTHONMALLOC": "malloc",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    # What a thread has given back and keeps for itself (up to 7 pieces of every size) counts as given out.
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
}
EVERY: Final = 5.0
"""Seconds between two figures: looking for circles holds up the process for some tens of milliseconds."""

REFILL: Final = 12
"""Figures between two fillings: what was imported meanwhile may have made a table larger."""

NAMES: Final = 200_000
SMALL: Final = 1024
KEPT: Final = 7

TELL: Final = "SOAK_HEAP"
"""Environment variable: the file for the newest figures, bytes in decimal: in use, and of these SQLite's."""


class _Info(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )
    hblkhd: int
    uordblks: int


def in_use() -> int:
    """Bytes that the C library has given out to this process. Raises AttributeError where it cannot be asked (glibc 2.33)."""
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = _Info
    info: _Info = ask()
    return info.uordblks + info.hblkhd


def pages() -> int:
    """Bytes of these that SQLite holds: pages of the buffer's file, 2 MiB for each connection at most; 0 where it is built in."""
    found = ctypes.util.find_library("sqlite3")
    if found is None:
        return 0
    ask = ctypes.CDLL(found).sqlite3_memory_used
    ask.restype = ctypes.c_int64
    return int(ask())


def fill() -> None:
    """Bring two bounded tables to the size that they would have after hours.

    Python's table of interned strings never uses the place of one that is gone again; when all places are used up it is
    made anew for three times as many as it holds. The history's file names (pathlib interns the parts of every path) use
    up 27 places a second in the long run: after 22 minutes the table is doubled, 1.8 MiB in one step, and never again.
    numpy keeps up to seven pieces of every size below 1,024 bytes, at most 3.6 MiB, as batches of these sizes come by.
    """
    for number in range(NAMES):
        sys.intern(f"soak {number}")
    for size in range(1, SMALL):
        held = [np.empty(size, np.uint8) for _ in range(KEPT)]
    del held


def _tell(path: Path) -> None:
    fresh = path.with_suffix(".new")
    for number in itertools.count():
        if number % REFILL == 0:
            fill()
        gc.collect()
        fresh.write_text(f"{in_use()} {pages()}", encoding="ascii")
        fresh.replace(path)
        time.sleep(EVERY)


if __name__ == "__main__":
    threading.Thread(target=_tell, args=(Path(os.environ[TELL]),), name="heap", daemon=True).start()
    runpy.run_module("collector", run_name="__main__", alter_sys=True)
