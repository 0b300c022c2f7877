"""Files of every released format, made once by the version that released it, can be opened and read for ever (P12).

golden/format-1.sqlite: two sources and a follower that has read a part; every kind of value; a refusal from each side; a
gap. A golden file is never made again: another one is added when the format changes.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.clock import SystemClock
from collector.journal import place, seals
from collector.journal.base import JournalFailed, SinkAccount
from collector.journal.lock import JournalInUse
from collector.journal.mark import read_mark
from collector.journal.place import NetworkDrive, is_network, network_kind
from collector.journal.reader import JournalReader
from collector.journal.schema import FORMAT, NotAJournal
from collector.journal.sqlite import open_journal
from pipelines.batch import Kind
from pipelines.stage import Gap
from tests.contracts.journal import START, append, seen_by, take, values_of

GOLDEN = Path(__file__).parent / "golden"
FOLLOWERS = ("archive", "sink")


def opened(path: Path, **options: object):  # type: ignore[no-untyped-def]
    return open_journal(path, followers=FOLLOWERS, clock=SystemClock(), window=0.0, **options)  # type: ignore[arg-type]


@pytest.fixture(params=sorted(GOLDEN.glob("format-*.sqlite")), ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copy(request.param, tmp_path / "journal.db"))


def test_every_format_has_a_golden_file() -> None:
    """P12: whoever changes the format commits a file of the new one, and the old ones stay."""
    assert {int(path.stem.split("-")[1]) for path in GOLDEN.glob("*.sqlite")} == set(range(1, FORMAT + 1))


def test_an_older_format_is_read_without_being_changed(golden: Path) -> None:
    """P12: `status` and `export` of this version beside a file of an earlier one."""
    before = golden.read_bytes()
    with JournalReader(golden) as reader:
        ledger = reader.ledger()
        assert (ledger.tail, ledger.unaccounted) == (21, 0)
        assert ledger.sinks["sink"] == SinkAccount(
            journaled=52, stored=33, quarantined=1, pending=18, cursor=12
        )
        assert [told.gap for told in reader.gaps()] == [
            Gap(START, START + 5, "connection_lost", "cable", ("cnc-1",), 3)
        ]
    assert golden.read_bytes() == before


async def test_an_older_format_is_opened_and_goes_on(golden: Path) -> None:
    """P12: values of every kind, books, checkpoints, identity and quarantine are those that were stored."""
    async with opened(golden) as journal:
        assert journal.checkpoint("plc") == b"resume here"
        slices = await take(journal, "archive", 21, values=1)
        kinds = {batch.kind: batch.values.tolist() for batch in slices[0].batches}
        assert kinds[Kind.INTEGER] == [-(2**63), 2**63 - 1]
        assert kinds[Kind.UNSIGNED] == [0, 2**64 - 1]
        assert kinds[Kind.TEXT] == ["", "é\n\0"]
        assert repr(kinds[Kind.NUMBER]) == "[0.1, -0.0]"
        assert seen_by(slices[1:]) == [n + half for n in range(20) for half in (0.0, 0.5)]
        assert [kept.origin for kept in await journal.quarantined()] == ["plc", "sink"]
        assert seen_by(await take(journal, "sink", 21))[0] == 11.0
        assert await append(journal, [19.0, 19.5], source="s1") == 21  # known already: duplicates
        assert await append(journal, [99.0]) == 22
        assert (await journal.ledger()).unaccounted == 0
    with closing(sqlite3.connect(golden)) as looking:
        assert looking.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    async with opened(golden) as journal:
        assert (await journal.ledger()).tail == 22


async def test_the_next_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    """P12: a downgrade says what to do and touches nothing."""
    path = tmp_path / "journal.db"
    async with opened(path) as journal:
        await append(journal, [1.0])
    written_by(path, FORMAT + 1)
    before = path.read_bytes()
    with pytest.raises(NotAJournal, match=f"format {FORMAT + 1}, known here: {FORMAT}.*update the collector"):
        async with opened(path):
            pass
    assert path.read_bytes() == before


def written_by(path: Path, version: int) -> None:
    """As a version of this format leaves it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA user_version={version}")
        row = (version, seals.seal("meta", "format", version))
        connection.execute("UPDATE meta SET value = ?, seal = ? WHERE key = 'format'", row)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
async def test_all_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """C1: also with a umask that hides nothing, and for files of a run that was less careful."""
    path = tmp_path / "journal.db"
    async with opened(path, min_free=0) as journal:
        await append(journal, [1.0])
        names = {file.name for file in tmp_path.iterdir()}
        assert names == {f"journal.db{end}" for end in ("", "-wal", "-shm", ".mark", ".lock", ".ballast")}
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    path.chmod(0o644)
    async with opened(path, min_free=0) as journal:
        await append(journal, [2.0])
        assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


async def test_a_copy_has_an_identity_of_its_own(tmp_path: Path) -> None:
    """D11: original and copy never have one id; the values, books and positions of the copy stay."""
    one, two = tmp_path / "one" / "journal.db", tmp_path / "two" / "journal.db"
    one.parent.mkdir()
    async with opened(one) as journal:
        await append(journal, [1.0, 2.0])
        name = journal._store.name
    shutil.copytree(one.parent, two.parent)
    async with opened(two) as copy, opened(one) as original:
        assert original._store.name == name != copy._store.name
        assert seen_by(await take(copy, "sink", 1)) == [1.0, 2.0]
        assert await copy.gaps() == []
        assert await append(copy, [3.0]) == 2
        mark = read_mark(two)
        assert mark is not None
        assert mark.store == copy._store.name
        renamed = copy._store.name
    async with opened(two) as copy:
        assert copy._store.name == renamed  # once


async def test_another_computer_is_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D11: the same folder on a clone with an id of its own."""
    path = tmp_path / "journal.db"
    ids = tmp_path / "machine-id"
    monkeypatch.setattr(place, "MACHINE_IDS", (ids,))
    names = []
    for machine in ("a", "a", "b"):
        ids.write_text(machine)
        async with opened(path) as journal:
            names.append(journal._store.name)
    assert names[0] == names[1] != names[2]


MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/nas rw,relatime shared:5 - nfs4 nas:/export rw
31 22 0:41 / /mnt/with\\040space rw - cifs //pc/share rw
32 30 8:2 / /mnt/nas/local rw - xfs /dev/sdb1 rw
33 22 0:43 / /mnt/ssh rw - fuse.sshfs me@pc:/ rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/state", "ext4"),
        ("/mnt/nas", "nfs4"),
        ("/mnt/nas/state", "nfs4"),
        ("/mnt/nasty", "ext4"),
        ("/mnt/with space/state", "cifs"),
        ("/mnt/nas/local/state", "xfs"),
        ("/mnt/ssh/state", "fuse.sshfs"),
    ],
)
def test_the_file_system_of_a_folder(tmp_path: Path, folder: str, kind: str) -> None:
    """P11: by the deepest mount above it."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert place._file_system(Path(folder), mounts) == kind
    assert is_network(kind) == (kind not in ("ext4", "xfs"))


async def test_a_network_drive_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P11: before anything is written there; a named setting allows it."""
    assert network_kind(tmp_path) is None
    monkeypatch.setattr(place, "network_kind", lambda _: "nfs4")
    with pytest.raises(NetworkDrive, match=r"network drive \(nfs4\).*Set `state`.*network_drive: allow"):
        async with opened(tmp_path / "journal.db"):
            pass
    assert list(tmp_path.iterdir()) == []
    async with opened(tmp_path / "journal.db", network_drive="allow") as journal:
        assert await append(journal, [1.0]) == 1


async def test_a_folder_that_is_not_there_or_not_ours_says_so(tmp_path: Path) -> None:
    """D4: a sentence with the remedy."""
    with pytest.raises(JournalFailed, match="may be written by this user"):
        async with opened(tmp_path / "missing" / "journal.db"):
            pass


async def test_a_second_instance_is_refused_at_once(tmp_path: Path) -> None:
    """P11: the lock is held by the open file; the refusal needs no waiting."""
    import time

    async with opened(tmp_path / "journal.db"):
        begin = time.thread_time()
        with pytest.raises(JournalInUse, match=f"process {os.getpid()}"):
            async with opened(tmp_path / "journal.db"):
                pass
        assert time.thread_time() - begin < 1.0


async def test_values_of_the_golden_file_are_read_by_the_reader(golden: Path) -> None:
    """P12: `export` of an old file."""
    with JournalReader(golden) as reader:
        entries = list(reader.entries(1))
        assert values_of(entry.batch for entry in entries) == [
            n + half for n in range(20) for half in (0.0, 0.5)
        ]
