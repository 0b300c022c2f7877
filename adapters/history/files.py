"""Which files the history consists of: the name says everything, and there is no index that could disagree.

`2026-03-01/0000000000000001-0000000000004711.parquet`: day (UTC) on which the last value was received, first and last
position of the journal. A file whose range lies within that of a larger one is a leftover of a compaction that was cut
short: readers ignore it, `tidy` removes it. So replacing many files by one needs no transaction over several files.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAME = re.compile(r"(\d{16})-(\d{16})\.parquet")
UNFINISHED = ".tmp"
SPILL = ".spill"


@dataclass(frozen=True, slots=True)
class File:
    path: Path
    day: date
    first: int
    last: int

    def covers(self, other: File) -> bool:
        return self.first <= other.first and other.last <= self.last

    def size(self) -> int:
        """Bytes; 0 when it has just been deleted."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0


def file_at(folder: Path, day: date, first: int, last: int) -> File:
    return File(folder / day.isoformat() / f"{first:016d}-{last:016d}.parquet", day, first, last)


def day_of(ns: int) -> date:
    return datetime.fromtimestamp(ns // 10**9, UTC).date()


def all_files(folder: Path) -> list[File]:
    """Every file there is, leftovers included, by position; of the same beginning the larger one first."""
    found = [file for day in _days(folder) for file in _within(day)]
    return sorted(found, key=lambda file: (file.first, -file.last, file.path))


def current(files: Sequence[File]) -> list[File]:
    """The files to be read: without those that lie within another one. Takes and keeps the order of `all_files`."""
    kept: list[File] = []
    for file in files:
        if not kept or not kept[-1].covers(file):
            kept.append(file)
    return kept


def clear_unfinished(folder: Path) -> None:
    """Remove drafts and spilled memory of a process that was killed."""
    for day in _days(folder):
        for path in day.glob(f"*{UNFINISHED}"):
            path.unlink(missing_ok=True)
        for path in day.glob(f"*{SPILL}"):
            shutil.rmtree(path, ignore_errors=True)


def _days(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _DAY.fullmatch(path.name) and path.is_dir())


def _within(folder: Path) -> Iterator[File]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are all that is needed, and a folder may vanish
        day = date.fromisoformat(folder.name)
    except (FileNotFoundError, ValueError):
        return
    for name in names:
        if match := _NAME.fullmatch(name):
            yield File(folder / name, day, int(match[1]), int(match[2]))


def publish(unfinished_path: Path, path: Path) -> None:
    """Make a written file appear under its name, for good: content first, then the name, then the folder."""
    _sync(unfinished_path)
    os.replace(unfinished_path, path)  # noqa: PTH105 - one name for the atomic call, which tests interrupt
    _sync_folder(path.parent)
    _sync_folder(path.parent.parent)


def remove(file: File) -> None:
    """Delete a file, and its day's folder when it was the last one."""
    file.path.unlink(missing_ok=True)
    try:
        file.path.parent.rmdir()
    except OSError:
        _sync_folder(file.path.parent)


def _sync(path: Path) -> None:
    with path.open("rb+") as opened:
        os.fsync(opened.fileno())


def _sync_folder(folder: Path) -> None:
    """Windows cannot do it and does not need it: NTFS journals names."""
    if os.name == "nt" or not folder.is_dir():
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
