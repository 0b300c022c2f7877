"""A file system that remembers what it was told: the journal runs over it, and every power cut is made from its memory.

The journal's own code runs unchanged over `apsw` (SQLite with a virtual file system in Python) behind a connection that
looks like the standard library's; the mark and the folder are watched through the `os` of their modules. Calls pass
through to real files and are written down as `Op`. What may be on a disk after a power cut in between is computed from
that list by tests/journal/platter.py and opened by the real store over the standard library's SQLite.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import apsw

from collector.journal import mark, recovery, renewal, schema

_NUMBERS: Final = count()
_SYNCS_FOLDER: Final = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL
"""SQLite's own Unix file system flushes the folder with the first flush of these (os_unix.c, UNIXFILE_DIRSYNC)."""


class Op(NamedTuple):
    """kind: write, cut, flush, lost (a flush that failed), link, unlink, rename, folder. file: number of the file."""

    kind: str
    file: int = 0
    at: int = 0
    data: bytes = b""
    name: str = ""


Fault = Callable[[str, str], apsw.Error | None]
"""Asked before every operation with its kind (open, read, write, cut, flush) and file name."""


def no_fault(kind: str, name: str) -> apsw.Error | None:
    return None


@dataclass
class Disk:
    """What was asked of the disk, in order, through any number of processes' lives. names: the folder as they see it."""

    ops: list[Op] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    fault: Fault = no_fault
    files: Iterator[int] = field(default_factory=lambda: count(1))

    def check(self, kind: str, name: str) -> None:
        error = self.fault(kind, name)
        if error is not None:
            if kind == "flush":
                self.ops.append(Op("lost", self.names[name]))
            raise error

    def created(self, name: str) -> None:
        if name not in self.names:
            self.names[name] = next(self.files)
            self.ops.append(Op("link", self.names[name], name=name))

    def wrote(self, name: str, at: int, data: bytes) -> None:
        self.ops.append(Op("write", self.names[name], at, bytes(data)))

    def cut(self, name: str, size: int) -> None:
        self.ops.append(Op("cut", self.names[name], size))

    def flushed(self, name: str) -> None:
        self.ops.append(Op("flush", self.names[name]))

    def flushed_folder(self) -> None:
        self.ops.append(Op("folder"))

    def removed(self, name: str) -> None:
        self.ops.append(Op("unlink", self.names.pop(name), name=name))

    def renamed(self, old: str, new: str) -> None:
        self.names[new] = self.names.pop(old)
        self.ops.append(Op("rename", self.names[new], name=f"{old}\n{new}"))


class Life:
    """One process's life on the disk: from `kill` on, nothing that it does is written down."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.alive = True
        self.vfs = _Vfs(self, f"power-{next(_NUMBERS)}")

    def kill(self) -> None:
        self.alive = False

    def connect(self, path: Path, *, readonly: bool = False) -> Connection:
        return Connection(path, self.vfs.name, readonly=readonly)


class _Vfs(apsw.VFS):
    def __init__(self, life: Life, name: str) -> None:
        self.life, self.name = life, name
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - apsw's names
        plain = Path(name.filename() if isinstance(name, apsw.URIFilename) else name).name
        if self.life.alive:
            self.life.disk.check("open", plain)
        return _File(self.life, plain, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - apsw's names
        if self.life.alive:
            self.life.disk.check("unlink", Path(filename).name)
        super().xDelete(filename, syncdir)
        if self.life.alive:
            self.life.disk.removed(Path(filename).name)
            if syncdir:
                self.life.disk.flushed_folder()

    def excepthook(self, *error: Any) -> None:  # type: ignore[override]  # typed as an attribute, called with three
        """An error that SQLite does not pass on, as on a real disk."""


class _File(apsw.VFSFile):
    def excepthook(self, *error: Any) -> None:  # type: ignore[override]  # as above
        """As above."""

    def __init__(self, life: Life, plain: str, name: Any, flags: list[int]) -> None:
        self.life, self.plain = life, plain
        super().__init__("", name, flags)
        self.folder_too = bool(flags[0] & apsw.SQLITE_OPEN_CREATE and flags[0] & _SYNCS_FOLDER)
        if life.alive:
            life.disk.created(plain)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - apsw's names
        if self.life.alive:
            self.life.disk.check("read", self.plain)
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - apsw's names
        if self.life.alive:
            self.life.disk.check("write", self.plain)
        super().xWrite(data, offset)
        if self.life.alive:
            self.life.disk.wrote(self.plain, offset, data)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - apsw's names
        if self.life.alive:
            self.life.disk.check("cut", self.plain)
        super().xTruncate(newsize)
        if self.life.alive:
            self.life.disk.cut(self.plain, newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - apsw's names
        if not self.life.alive:
            return
        self.life.disk.check("flush", self.plain)
        self.life.disk.flushed(self.plain)
        if self.folder_too:
            self.life.disk.flushed_folder()
            self.folder_too = False


class Connection:
    """What the journal uses of sqlite3.Connection, over apsw."""

    def __init__(self, path: Path, vfs: str, *, readonly: bool) -> None:
        write = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        with _translated():
            self._apsw = apsw.Connection(str(path), apsw.SQLITE_OPEN_READONLY if readonly else write, vfs)
            self._apsw.set_busy_timeout(5000)
            self.execute("PRAGMA cache_size=-2048")

    def execute(self, statement: str, arguments: Sequence[Any] = ()) -> Cursor:
        with _translated():
            cursor = self._apsw.cursor()
            cursor.execute(statement, tuple(arguments))
            return Cursor(cursor, self._apsw.changes(), self._apsw.last_insert_rowid())

    def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        with _translated():
            self._apsw.cursor().executemany(statement, rows)

    def executescript(self, script: str) -> None:
        self.execute(script)

    def create_function(self, name: str, arguments: int, function: Any, *, deterministic: bool) -> None:
        self._apsw.create_scalar_function(name, function, arguments, deterministic=deterministic)

    @property
    def in_transaction(self) -> bool:
        return self._apsw.in_transaction

    def close(self) -> None:
        with _translated():
            self._apsw.close()


class Cursor:
    """What the journal uses of sqlite3.Cursor. rowcount: of a statement that changes rows."""

    def __init__(self, cursor: apsw.Cursor, rowcount: int, lastrowid: int) -> None:
        self._apsw, self.rowcount, self.lastrowid = cursor, rowcount, lastrowid

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        with _translated():
            yield from self._apsw

    def fetchone(self) -> tuple[Any, ...] | None:
        with _translated():
            return self._apsw.fetchone()

    def fetchall(self) -> list[tuple[Any, ...]]:
        with _translated():
            return self._apsw.fetchall()

    def close(self) -> None:
        self._apsw.close()


@contextmanager
def _translated() -> Iterator[None]:
    """apsw's errors as those of the standard library, with SQLite's number."""
    try:
        yield
    except apsw.Error as error:
        broken = isinstance(error, apsw.CorruptError | apsw.NotADBError)
        translated = (sqlite3.DatabaseError if broken else sqlite3.OperationalError)(str(error))
        translated.sqlite_errorcode = getattr(error, "extendedresult", apsw.SQLITE_IOERR)
        raise translated from error


class _Os:
    """The `os` of the modules that write beside SQLite: the mark, and the folder."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._open: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        folder = Path(path).is_dir()
        handle = os.open(path, flags, mode)
        self._open[handle] = "" if folder else Path(path).name
        if self._life.alive and not folder:
            self._life.disk.created(self._open[handle])
        return handle

    def write(self, handle: int, data: bytes) -> int:
        at = os.lseek(handle, 0, os.SEEK_CUR)
        return self._wrote(handle, at, data, os.write(handle, data))

    def pwrite(self, handle: int, data: bytes, at: int) -> int:
        return self._wrote(handle, at, data, os.pwrite(handle, data, at))

    def _wrote(self, handle: int, at: int, data: bytes, done: int) -> int:
        if self._life.alive:
            self._life.disk.wrote(self._open[handle], at, data[:done])
        return done

    def ftruncate(self, handle: int, size: int) -> None:
        os.ftruncate(handle, size)
        if self._life.alive:
            self._life.disk.cut(self._open[handle], size)

    def fsync(self, handle: int) -> None:
        name = self._open[handle]
        if not self._life.alive:
            return
        self._life.disk.check("flush", name) if name else None
        self._life.disk.flushed(name) if name else self._life.disk.flushed_folder()

    fdatasync = fsync

    def close(self, handle: int) -> None:
        os.close(handle)


def _watched_set_aside(life: Life) -> Any:
    def set_aside(opening: Any, why: str) -> Any:
        folder = opening.path.parent
        before = {(folder / name).stat().st_ino: name for name in life.disk.names if (folder / name).exists()}
        loss = original(opening, why)
        for now in folder.iterdir():
            old = before.get(now.stat().st_ino)
            if life.alive and old is not None and old != now.name:
                life.disk.renamed(old, now.name)
        return loss

    original = recovery._set_aside
    return set_aside


@contextmanager
def living(disk: Disk) -> Iterator[Life]:
    """The journal's modules on this disk, until the block is left."""
    life = Life(disk)
    shim = _Os(life)
    with ExitStack() as stack:
        stack.callback(life.kill)
        for module in (schema, recovery):
            stack.enter_context(patch.object(module, "connect", life.connect))
        for module in (mark, recovery, renewal):
            stack.enter_context(patch.object(module, "os", shim))
        stack.enter_context(patch.object(recovery, "_set_aside", _watched_set_aside(life)))
        yield life
