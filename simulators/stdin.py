"""Lines from stdin for a running event loop.

A daemon thread on the bare descriptor: a pipe cannot be awaited on Windows, and a thread inside sys.stdin would hold its
lock while the interpreter ends. It waits until a line was dealt with before it reads the next, so nothing piles up.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any


def listen(each: Callable[[bytes], Coroutine[Any, Any, None]], gone: Callable[[], None]) -> None:
    """Run `each` on the running loop for every line, stripped; call `gone` when who writes there has closed it."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        rest = b""
        try:
            while chunk := os.read(0, 4096):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    asyncio.run_coroutine_threadsafe(each(line.strip()), loop).result()
            loop.call_soon_threadsafe(gone)
        except (OSError, RuntimeError, CancelledError):
            return  # stdin was never open, or the loop ended while a line came

    threading.Thread(target=read, name="simulators-stdin", daemon=True).start()
