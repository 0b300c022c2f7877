"""Deaths and errors at exactly one system call (P2, P4, D1, D3, D4), by strace, under the standard library's SQLite.

Every sweep counts the calls of each kind until a child lives to its end, so nothing that the journal calls is left out.
In CI every so-manieth call is taken (another one at each seed); JOURNAL_SYSCALLS=1 takes every one (`make torture`).
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.journal.nursery import FAILED, Nursery, said
from tests.journal.oracle import Oracle, check
from tests.servers import binary

STRIDE = int(os.environ.get("JOURNAL_SYSCALLS", "5"))
CALLS = ("fdatasync", "fsync", "pwrite64", "write", "ftruncate", "openat", "unlink", "pread64")
APPENDS = 12
"""Per source and life: enough for snapshots, deletions and checkpoints with the small sizes of the workload."""

MOST = 2000


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    binary("strace")
    with Nursery() as nursery:
        yield nursery


def fresh(folder: Path, *, lived: Path | None = None) -> Path:
    """A journal of its own for one point of a sweep: empty, or a copy of one that has lived."""
    shutil.rmtree(folder, ignore_errors=True)
    if lived is None:
        folder.mkdir()
    else:
        shutil.copytree(lived, folder)
    return folder / "journal.db"


def points(call: str, rarer: int = 1) -> Iterator[int]:
    """1, 2 and then every so-manieth; rarer: as many times rarer in CI."""
    step = 1 if STRIDE == 1 else STRIDE * rarer
    start = random.Random(os.environ.get("SEED", call)).randint(1, step)
    yield from sorted({1, 2, *range(start, MOST, step)})


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("call", CALLS)
async def test_p2_killed_at_every_system_call(tmp_path: Path, nursery: Nursery, call: str) -> None:
    """P2, I1, I2: killed at the nth call of each kind, from the creation of the file on."""
    for nth in points(call):
        oracle, path = Oracle(), fresh(tmp_path / "one")
        status = nursery.death(path, nth, appends=APPENDS, inject=(f"{call}:signal=SIGKILL:when={nth}",))
        assert status in (-SIGKILL, 0)
        oracle.listen(path)
        await check(path, oracle)
        if status == 0:
            assert nth > 1 or call in ("ftruncate", "unlink"), "this call was never made"
            return


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "call", ["fdatasync", "pwrite64", "write", "openat", "pread64", "ftruncate", "fsync"]
)
async def test_p4_killed_while_it_recovers_three_deep(tmp_path: Path, nursery: Nursery, call: str) -> None:
    """P4: killed at work, then at the nth call of the recovery, and again, and again: then a start finds everything."""
    oracle, lived = Oracle(), tmp_path / "lived"
    lived.mkdir()
    path = lived / "journal.db"
    assert nursery.death(path, 3, appends=40, inject=("fdatasync:signal=SIGKILL:when=30",)) == -SIGKILL
    before = said(path).read_bytes()
    for nth in points(call):
        path, oracle = fresh(tmp_path / "one", lived=lived), Oracle()
        deaths = []
        for depth in range(3):
            inject = (f"{call}:signal=SIGKILL:when={max(1, nth - depth)}",)
            deaths.append(nursery.death(path, nth, appends=-1, inject=inject))
        assert set(deaths) <= {-SIGKILL, 0}
        assert said(path).read_bytes().startswith(before)
        oracle.listen(path)
        await check(path, oracle)
        if deaths[0] == 0:
            return


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("call", ["fdatasync", "fsync", "pwrite64", "openat", "pread64", "ftruncate"])
async def test_d3_an_io_error_at_every_system_call(tmp_path: Path, nursery: Nursery, call: str) -> None:
    """D3, D4: EIO at the nth call: the process ends and says why, or was not touched; what it had acknowledged is there."""
    for nth in points(call, 3):
        oracle, path = Oracle(), fresh(tmp_path / "one")
        errors = (f"{call}:error=EIO:when={nth}", f"{call}:error=EROFS:when={nth}+")
        for error in errors:
            status = nursery.death(path, nth, appends=APPENDS, inject=(error,))
            assert status in (FAILED, 0), error
            oracle.listen(path)
            await check(path, oracle)
        if status == 0:
            return


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("call", ["pread64", "openat", "fdatasync"])
async def test_d3_an_io_error_at_every_system_call_of_a_start(
    tmp_path: Path, nursery: Nursery, call: str
) -> None:
    """D3: EIO once, and from the nth call on, while a journal with a backlog is opened: the start may fail, the next one
    finds everything, and a good file is never set aside for it.
    """
    lived = tmp_path / "lived"
    lived.mkdir()
    died = nursery.death(lived / "journal.db", 3, appends=40, inject=("fdatasync:signal=SIGKILL:when=30",))
    assert died == -SIGKILL
    for nth in range(1, MOST):
        for lasting in ("", "+"):
            oracle, path = Oracle(), fresh(tmp_path / "one", lived=lived)
            status = nursery.death(path, nth, appends=-1, inject=(f"{call}:error=EIO:when={nth}{lasting}",))
            assert status in (FAILED, 0)
            oracle.listen(path)
            await check(path, oracle)
            assert not list(path.parent.glob("*.damaged-*"))
        if status == 0:
            return


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("call", ["pwrite64", "ftruncate"])
async def test_d1_a_full_disk_at_every_system_call(tmp_path: Path, nursery: Nursery, call: str) -> None:
    """D1, D2: ENOSPC at the nth write and the three after it, then there is space again: nothing is lost, nothing stops."""
    for nth in points(call, 6):
        oracle, path = Oracle(), fresh(tmp_path / "one")
        error = f"{call}:error=ENOSPC:when={nth}..{nth + 3}"
        status = nursery.death(path, nth, appends=APPENDS, inject=(error,))
        assert status in (FAILED, 0)
        oracle.listen(path)
        await check(path, oracle)
        if nth > 200:
            return
