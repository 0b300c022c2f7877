"""What differs between operating systems, in one place: the event loop, how a stop arrives, how a child is stopped."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def run(main: Coroutine[Any, Any, _Result]) -> _Result:
    """asyncio.run on a selector loop: Windows' default loop cannot watch sockets, which MQTT needs."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(main)


def on_stop(stop: Callable[[], None]) -> None:
    """Call `stop` in the running loop when somebody asks the process to end (Ctrl-C, SIGTERM, Ctrl-Break)."""
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        for number in (signal.SIGINT, signal.SIGBREAK):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


def child_options() -> dict[str, Any]:
    """For subprocesses that we stop ourselves: Ctrl-C in the terminal must not reach them first."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
