"""`collector` with a look at its own heap, for the long run only: `python -m tests.soak.inside run …`.

Resident memory breathes by megabytes with every sealing of the history, because an allocator gives pages back when it likes;
what is in use does not. So Python and pyarrow are told to take all of theirs from the C library (`ENVIRONMENT`), and that one
is asked how many bytes it has given out: mallinfo(3), all arenas, `uordblks` and `hblkhd`. Circles of objects that nobody
needs any more lie about for a minute or two, some megabytes of them, until Python looks for them by itself: so it is told
to look before every figure. What is left in circles then is a leak.
"""

from __future__ import annotations

import ctypes
import gc
import os
import runpy
import threading
import time
from pathlib import Path
from typing import Final

ENVIRONMENT: Final = {"PYTHONMALLOC": "malloc", "ARROW_DEFAULT_MEMORY_POOL": "system"}
EVERY: Final = 5.0
"""Seconds between two figures: looking for circles holds up the process for some tens of milliseconds."""

TELL: Final = "SOAK_HEAP"
"""Environment variable: the file for the newest figure, bytes in decimal."""


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


def _tell(path: Path) -> None:
    fresh = path.with_suffix(".new")
    while True:
        gc.collect()
        fresh.write_text(str(in_use()), encoding="ascii")
        fresh.replace(path)
        time.sleep(EVERY)


if __name__ == "__main__":
    threading.Thread(target=_tell, args=(Path(os.environ[TELL]),), name="heap", daemon=True).start()
    runpy.run_module("collector", run_name="__main__", alter_sys=True)
