"""The folder of what is trusted and our own certificate, while somebody else changes them, and after a crash in the middle."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import Misconfigured
from adapters.opcua import trust
from adapters.opcua.certificate import adopt, own_certificate, own_file, prepare
from adapters.opcua.trust import TrustFolder
from tests.opcua.certificates import Wish, make

ONE, OTHER = make(Wish()), make(Wish(key=2))


def fingerprints(folder: TrustFolder) -> set[str]:
    return set(folder.stock("plc").pinned)


@pytest.mark.parametrize("url", ["", "opc.tcp://another:4840"])
def test_a_machine_is_trusted_anew_while_a_connection_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Between the listing of the folder and the opening of what was listed."""
    folder, read = TrustFolder(tmp_path), trust._read
    folder.pin("plc", ONE.certificate)

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(trust, "_read", read)
        folder.pin("plc", OTHER.certificate, url)
        return read(*arguments)

    monkeypatch.setattr(trust, "_read", meanwhile)
    assert fingerprints(folder) == {OTHER.fingerprint}


def test_a_folder_that_changes_with_every_look_is_no_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, read = TrustFolder(tmp_path), trust._read
    pinned = folder.pin("plc", ONE.certificate)

    def gone(file: Path, parse: Any) -> Any:
        return read(file.with_name("gone"), parse)

    monkeypatch.setattr(trust, "_read", gone)
    with pytest.raises(Misconfigured, match="changes all the time"):
        folder.stock("plc")
    assert pinned.exists()


def test_two_are_trusted_for_the_first_time_at_the_same_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Path.is_dir

    def quicker(path: Path) -> bool:
        there = known(path)
        if not there and path.name == "pinned":
            path.mkdir()
        return there

    monkeypatch.setattr(Path, "is_dir", quicker)
    folder = TrustFolder(tmp_path)
    folder.pin("plc", ONE.certificate)
    assert fingerprints(folder) == {ONE.fingerprint}


def test_what_a_crash_left_in_the_folder_hinders_nobody(tmp_path: Path) -> None:
    folder = TrustFolder(tmp_path)
    left = folder.pin("plc", ONE.certificate).with_name(".0123456789abcdef")
    left.write_bytes(b"half of a certific")
    assert fingerprints(folder) == {ONE.fingerprint}
    assert [one.serial_number for one in folder.unpin("plc")] == [ONE.certificate.serial_number]
    assert folder.sources() == []
    folder.pin("plc", OTHER.certificate)
    assert folder.sources() == ["plc"]


def test_what_cannot_be_stored_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(Misconfigured, match=r"cannot be changed in .*: File exists") as caught:
        TrustFolder(tmp_path / "state").pin("plc", ONE.certificate)
    assert "may write the state folder" in (caught.value.remedy or "")


@pytest.mark.parametrize("store", [lambda folder: TrustFolder(folder).pin("plc", ONE.certificate), prepare])
def test_a_full_disk_leaves_no_drafts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Callable[[str], Any]
) -> None:
    """It is tried again with every connection: what each time leaves would be many."""

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Misconfigured, match="No space left on device"):
        store(str(tmp_path))
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_there_is_one_certificate_of_ours_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that found none while another is taken into use would make one that no machine knows."""
    first, made = own_certificate(str(tmp_path), None, None), prepare(str(tmp_path))
    move = Path.replace

    def looked(path: Path, target: Path) -> Path:
        moved = move(path, target)
        assert own_file(tmp_path).exists()
        return moved

    monkeypatch.setattr(Path, "replace", looked)
    assert adopt(str(tmp_path)).certificate == made.certificate
    held = own_file(tmp_path).parent
    assert sorted(file.name for file in held.iterdir()) == ["collector.der", "collector.pem", "previous.pem"]
    assert own_certificate("", held / "previous.pem", held / "previous.pem").certificate == first.certificate


def test_the_file_for_the_machines_is_there_again_after_a_crash(tmp_path: Path) -> None:
    first = own_certificate(str(tmp_path), None, None)
    der = own_file(tmp_path).with_suffix(".der")
    for left in (None, b"another certificate"):
        der.unlink()
        if left is not None:
            der.write_bytes(left)
        assert own_certificate(str(tmp_path), None, None) == first
        assert der.read_bytes() == first.certificate


def test_nothing_is_taken_into_use_that_nobody_was_told_of(tmp_path: Path) -> None:
    first = own_certificate(str(tmp_path), None, None)
    made = prepare(str(tmp_path))
    assert adopt(str(tmp_path)).certificate == made.certificate != first.certificate
    with pytest.raises(Misconfigured, match="no next certificate") as caught:
        adopt(str(tmp_path))
    assert "--renew" in (caught.value.remedy or "")
    assert own_certificate(str(tmp_path), None, None).certificate == made.certificate
