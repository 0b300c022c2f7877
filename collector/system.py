"""What differs between operating systems, in one place: the event loop, how a stop arrives, how a child is stopped,
file modes and locks, how many files are open, and the service manager's socket.

Two places outside stay where the import direction keeps them: `config/expand.py` (mode of a secret file) and
`adapters/history/files.py` (a folder is synced where that exists).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

log = logging.getLogger("collector")

_Result = TypeVar("_Result")

_M_ARENA_MAX = -8  # malloc.h of glibc


def run(main: Coroutine[Any, Any, _Result]) -> _Result:
    """asyncio.run on a selector loop: Windows' default loop cannot watch sockets, which MQTT needs."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.get_loop().set_exception_handler(_told_by_the_pulse)
        return runner.run(main)


def _told_by_the_pulse(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A connection that cannot be accepted because files ran out: asyncio would tell it with a traceback every second,
    the pulse tells it once (fault matrix P8).
    """
    error = context.get("exception")
    if not (isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)):
        loop.default_exception_handler(context)


def on_stop(stop: Callable[[], None]) -> None:
    """Call `stop` in the running loop when somebody asks the process to end (Ctrl-C, SIGTERM, Ctrl-Break)."""
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        for number in (signal.SIGINT, signal.SIGBREAK):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)


def on_end(cancel: Callable[[], object]) -> None:
    """Call `cancel` in the running loop when the system, or a terminal that is closed, ends a command that has something to clear
    away; Ctrl-C cancels by itself. On Windows the system asks nobody.
    """
    if sys.platform == "win32":
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, cancel)


def hold_hangup() -> None:
    """From now on SIGHUP waits for `on_hangup`: who wants a reload while we start or stop must not end us."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def on_hangup(reload: Callable[[], object]) -> Callable[[], object]:
    """Call `reload` in the running loop at SIGHUP, which means that to a service; returns what ends it. Windows has none."""
    if sys.platform == "win32":
        return lambda: None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def end() -> None:
        hold_hangup()
        loop.remove_signal_handler(signal.SIGHUP)

    return end


def child_options() -> dict[str, Any]:
    """For subprocesses that we stop ourselves: Ctrl-C in the terminal must not reach them first."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def few_heaps(count: int = 2) -> bool:
    """From now on threads, and Arrow with them, share `count` heaps. Returns whether that is so: glibc alone has the choice.

    By default glibc gives every thread a heap of its own, up to eight per core, and Arrow has an allocator of its own beside
    them; each keeps what its largest moment took, some 45 MB together (benchmarks/README.md). To be called before pyarrow is
    loaded: what its C++ code allocates by itself goes by this variable alone. MALLOC_ARENA_MAX and ARROW_DEFAULT_MEMORY_POOL in
    the environment count before this.
    """
    if not sys.platform.startswith("linux") or "MALLOC_ARENA_MAX" in os.environ:
        return False
    try:
        done = bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, count))
    except (OSError, AttributeError):  # another libc
        return False
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    return done


def private_files() -> None:
    """Whatever this process creates is its owner's alone (fault matrix S8). Windows has the folder's access list instead."""
    if sys.platform != "win32":
        os.umask(0o077)


def private_folder(path: Path) -> Path:
    """The folder, made for its owner only; one that was there before is left as it is, with a word if others can look in."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if sys.platform != "win32" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        log.warning(
            "%s: other users of this computer can look into the state folder: chmod 700 %s", path, path
        )
    return path


def open_files() -> tuple[int, int] | None:
    """How many files this process has open, and how many it may have; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        return len(os.listdir("/proc/self/fd")) - 1, limit  # noqa: PTH208 (names are enough)
    except OSError:  # not even this one can be opened
        return limit, limit


def tell_service_manager(**words: str) -> bool:
    """sd_notify(3): READY="1", STATUS="…", WATCHDOG="1", STOPPING="1". False when nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if sys.platform == "win32" or not address.startswith(("/", "@")):
        return False
    text = "\n".join(f"{name}={word}" for name, word in words.items())
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)  # a manager that does not read must not hold up the collector
        manager.sendto(text.encode(), address.replace("@", "\0", 1))
        return True
    return False


def watchdog_seconds() -> float | None:
    """After how many seconds of silence the service manager restarts us, if it watches this process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None
