"""One process per journal (fault matrix P11, invariant I14): the lock belongs to the open file, so that it dies with
its process; a file that only holds a process number would survive a crash and refuse the next start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from collector.journal.base import JournalFailed

_LOCKED = 1 << 30
"""The byte that is locked on Windows, far behind the process number: there, a locked byte cannot be read by others."""


class JournalInUse(Exception):
    """Another process has this journal."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the journal at `path` (a file beside it). Raises JournalInUse and names the holder,
    and JournalFailed where nothing may be written (D4).
    """
    try:
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise JournalFailed(
            f"{path}: the buffer is not available ({error.strerror}): its folder {path.parent} must be there and may be "
            "written by this user, on a disk that is not mounted read-only"
        ) from error
    try:
        try:
            _acquire(handle)
        except OSError as error:
            raise JournalInUse(
                _in_use(path, os.pread(handle, 32, 0) if hasattr(os, "pread") else b"")
            ) from error
        with suppress(OSError):  # a full disk: the number is only for people
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)


def _in_use(path: Path, holder: bytes) -> str:
    pid = holder.decode(errors="replace").strip() or "unknown"
    return (
        f"{path}: this buffer is in use by another collector (process {pid}). Stop that one first, "
        "or give this one its own state directory."
    )


if sys.platform == "win32":
    import msvcrt

    def _acquire(handle: int) -> None:
        os.lseek(handle, _LOCKED, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)

else:
    import fcntl

    def _acquire(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
