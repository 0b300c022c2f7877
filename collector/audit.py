"""What somebody decided, and when: an append-only file in the state folder that shows when it was touched.

Each line holds the hash of the line before it, so that a changed, removed or inserted line breaks the chain from there on; what is
cut off at the end cannot be seen from the file alone (`audit` shows the last hash: write it down where it matters). Bounded: a
full file becomes `audit.log.1`, and the chain goes on. Names, fingerprints and counts stand in it, and never a secret. A file that
cannot be written stops nothing and is said loudly.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

log = logging.getLogger("collector.audit")
NAME: Final = "audit.log"
MOST: Final = 2_000_000
"""Bytes of a file; there are two at most."""

_START: Final = "0" * 64
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class Trail:
    """What is there. broken: (file, line) where the chain does not hold; empty if it does. last: the newest hash."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    broken: list[tuple[str, int]] = field(default_factory=list)
    last: str = _START


def note(state: Path | str, what: str, **about: Any) -> None:
    """Add one line. about: names, numbers, fingerprints; texts are cut at 500 characters."""
    folder = Path(state)
    row = {"at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"), "who": _who(), "what": what}
    row |= {key: str(value)[:_LONGEST] for key, value in about.items() if value not in (None, "")}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(folder):
            _append(folder / NAME, row)
    except OSError as error:
        log.warning("the audit log in %s cannot be written (%s): %s is not in it", folder, error, what)


def trail(state: Path | str) -> Trail:
    """Both files, oldest first. The chain of the older one begins wherever its first line says."""
    folder = Path(state)
    if not folder.is_dir():
        return Trail()
    with _alone(folder):  # else the newer one may become the older one after that was read
        found = {name: _lines(folder / name) for name in (f"{NAME}.1", NAME)}
    return _judged(found)


def _judged(found: dict[str, list[bytes]]) -> Trail:
    made = Trail()
    before = ""
    for name, lines in found.items():
        for number, line in enumerate(lines, 1):
            row, chain = _parsed(line)
            first = not made.rows and not made.broken
            if row is None or chain != _chained(row) or (not first and row["before"] != before):
                made.broken.append((name, number))
            if row is not None:
                made.rows.append(row)
            before = chain
    return Trail(made.rows, made.broken, before or _START)


def _append(file: Path, row: dict[str, str]) -> None:
    before = _last(file)
    if file.exists() and file.stat().st_size > MOST:
        file.replace(file.with_name(f"{NAME}.1"))
    row = {**row, "before": before}
    line = json.dumps({**row, "chain": _chained(row)}, ensure_ascii=True).encode() + b"\n"
    handle = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        left = (
            _begun(handle) + line
        )  # behind a line that a full disk or a crash has cut off, or both would be unreadable
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _begun(handle: int) -> bytes:
    """What ends the last line, if nothing does."""
    size = os.lseek(handle, 0, os.SEEK_END)
    os.lseek(handle, max(0, size - 1), os.SEEK_SET)
    return b"" if os.read(handle, 1) in (b"", b"\n") else b"\n"


def _last(file: Path) -> str:
    """The hash that the next line has to follow; of a last line that cannot be read, that of its bytes."""
    lines = _lines(file) or _lines(file.with_name(f"{NAME}.1"))
    return _parsed(lines[-1])[1] if lines else _START


def _lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines() if file.exists() else []


def _parsed(line: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        row = json.loads(line)
        chain = row.pop("chain")
        return (row, str(chain)) if "before" in row else (None, str(chain))
    except (ValueError, AttributeError, KeyError, TypeError):
        return None, hashlib.sha256(line).hexdigest()


def _chained(row: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"user {os.getuid()}" if sys.platform != "win32" else "somebody"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two commands at the same moment write one after the other."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
