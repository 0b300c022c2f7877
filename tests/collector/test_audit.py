"""The audit log: what commands write into it, that any touched byte shows, that it stays small and holds no secret."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector import audit
from collector.__main__ import main
from collector.audit import NAME, note, trail
from tests.collector.test_doctor import configured, opcua


def test_who_what_when(tmp_path: Path) -> None:
    note(tmp_path, "trusted", source="plc", sha256="ab")
    note(tmp_path, "released", sink="influx", values=17)
    found = trail(tmp_path)
    assert [(row["what"], row.get("source"), row.get("values")) for row in found.rows] == [
        ("trusted", "plc", None),
        ("released", None, "17"),
    ]
    assert found.broken == []
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert trail(tmp_path / "nothing").rows == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_one_byte_that_is_touched_shows(tmp_path: Path, place: int, bit: int) -> None:
    """S18: whichever byte it is, but for the last line break."""
    file = tmp_path / NAME
    file.unlink(missing_ok=True)
    for number in range(5):
        note(tmp_path, "reloaded", outcome=f"applied {number}")
    whole = bytearray(file.read_bytes())
    whole[place % (len(whole) - 1)] ^= 1 << bit
    file.write_bytes(bytes(whole))
    assert trail(tmp_path).broken


def test_a_line_that_is_gone_shows_and_the_record_goes_on(tmp_path: Path) -> None:
    for number in range(4):
        note(tmp_path, "reloaded", outcome=str(number))
    lines = (tmp_path / NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / NAME).write_bytes(b"".join([lines[0], *lines[2:]]))
    assert trail(tmp_path).broken == [(NAME, 2)]
    note(tmp_path, "reloaded", outcome="later")
    assert trail(tmp_path).broken == [(NAME, 2)], "what is added later hides nothing and is believed"


def test_it_stays_small_and_the_chain_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MOST", 2000)
    for number in range(60):
        note(tmp_path, "reloaded", outcome="x" * 10_000, number=number)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [NAME, f"{NAME}.1"]
    assert sum((tmp_path / name).stat().st_size for name in files) < 8000
    found = trail(tmp_path)
    assert found.broken == []
    assert found.rows[-1]["number"] == "59"


def write_many(folder: str) -> None:
    for number in range(20):
        note(folder, "reloaded", number=number)


def test_two_at_the_same_moment(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(str(tmp_path),)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = trail(tmp_path)
    assert (len(found.rows), found.broken) == (40, [])


def test_a_folder_that_cannot_be_written_is_said_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / NAME).mkdir()
    note(tmp_path, "released", sink="influx")
    assert "released is not in it" in caplog.text


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = configured(tmp_path, *opcua("opc.tcp://127.0.0.1:1", "load"))
    assert main(["audit", str(file)]) == 0
    assert "Nothing is recorded" in capsys.readouterr().err
    note(tmp_path / "state", "trusted", source="plc", sha256="ab" * 32)
    assert main(["audit", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(row["what"], row["source"]) for row in told["rows"]] == [("trusted", "plc")]
    log = tmp_path / "state" / NAME
    log.write_bytes(log.read_bytes().replace(b"plc", b"plz"))
    assert main(["audit", str(file)]) == 1
    assert "was changed" in capsys.readouterr().err


def test_a_line_that_was_cut_off_takes_no_other_with_it(tmp_path: Path) -> None:
    """A full disk or a crash in the middle of a line: it is told as broken, and what comes later can be read."""
    for number in range(3):
        note(tmp_path, "reloaded", outcome=str(number))
    file = tmp_path / NAME
    file.write_bytes(file.read_bytes()[:-20])
    note(tmp_path, "reloaded", outcome="later")
    note(tmp_path, "reloaded", outcome="last")
    found = trail(tmp_path)
    assert [row["outcome"] for row in found.rows] == ["0", "1", "later", "last"]
    assert found.broken == [(NAME, 3)]


def test_a_line_is_written_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is almost full takes a part of it and says how much."""
    write = os.write
    ours = threading.get_ident()

    def a_little(handle: int, data: bytes) -> int:
        return write(handle, data[:7] if threading.get_ident() == ours else data)

    monkeypatch.setattr(os, "write", a_little)
    note(tmp_path, "reloaded", outcome="whole")
    monkeypatch.undo()
    assert [row["outcome"] for row in trail(tmp_path).rows] == ["whole"]


@pytest.mark.skipif(sys.platform == "win32", reason="nobody waits for another there")
def test_nobody_writes_between_two_files_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that becomes full in between would be read twice, or not at all, and its chain be told as broken."""
    import fcntl

    note(tmp_path, "reloaded", outcome="1")
    lines = audit._lines
    kept_out: list[str] = []

    def looked(file: Path) -> list[bytes]:
        try:
            fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            kept_out.append(file.name)
        return lines(file)

    door = os.open(tmp_path, os.O_RDONLY)
    try:
        monkeypatch.setattr(audit, "_lines", looked)
        assert len(trail(tmp_path).rows) == 1
    finally:
        os.close(door)
    assert kept_out == [f"{NAME}.1", NAME]
