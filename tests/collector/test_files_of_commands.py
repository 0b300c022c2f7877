"""One way to say which configuration, for all commands: the files as words, wherever they stand. `--config` goes on working."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.base import Delivery
from adapters.clock import SystemClock
from collector.__main__ import main
from collector.cli.exits import Exit
from collector.journal import place
from collector.journal.sqlite import open_journal
from pipelines.identity import Learned
from pipelines.stage import Refined, Refusal

SHOP = """
version: 1
page: off
sources:
  plc: {type: opcua, url: "opc.tcp://127.0.0.1:9", security: none}
machines:
  - {id: m, source: plc, signals: [{name: a, node: "ns=2;s=a"}]}
sinks:
  - {type: influxdb, name: db, url: "http://127.0.0.1:9", api: v1, database: shop}
"""


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """Commands set up logging for a process of their own; here they run in that of all tests."""
    before = [(log, log.level, [*log.handlers]) for log in map(logging.getLogger, (None, "collector"))]
    yield
    for log, level, handlers in before:
        log.setLevel(level)
        log.handlers[:] = [known for known in log.handlers if known in handlers]


@pytest.fixture
def shop(tmp_path: Path) -> str:
    """A configuration whose buffer has one refusal."""
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP, encoding="utf-8")
    (tmp_path / "state").mkdir(mode=0o700)

    async def refused() -> None:
        opened = open_journal(
            tmp_path / "state" / "buffer.sqlite", followers=["db", "history"], clock=SystemClock()
        )
        async with opened as journal:
            refusal = Refusal("topic/a", "no number", b"x", 1_790_000_000_000_000_000)
            await journal.append("plc", Delivery((), 1, [refusal]), Refined((), (), {}, {}, Learned()))

    asyncio.run(refused())
    return str(file)


ORDERS = [
    ("status FILE", Exit.UNAVAILABLE),
    ("status --config FILE --json", Exit.UNAVAILABLE),
    ("quarantine list FILE", Exit.OK),
    ("quarantine list --json FILE", Exit.OK),
    ("quarantine list --config FILE", Exit.OK),
    ("quarantine show 1 FILE", Exit.OK),
    ("quarantine show FILE 1 --json", Exit.OK),
    ("quarantine show 1 --json FILE", Exit.OK),
    ("quarantine show --config FILE --json 1", Exit.OK),
    ("quarantine show 2 FILE", Exit.PROBLEMS),
    ("quarantine purge FILE --all --yes", Exit.OK),
    ("quarantine purge 1 --yes FILE", Exit.OK),
    ("release db FILE --yes", Exit.OK),
    ("release db --yes FILE", Exit.OK),
    ("release --yes --config FILE -- db", Exit.OK),
    ("rewind nobody FILE", Exit.USAGE),
    ("backfill nobody --from 2026-01-01 FILE", Exit.USAGE),
    ("trust --list FILE", Exit.OK),
    ("trust FILE --list", Exit.OK),
    ("doctor FILE", Exit.PROBLEMS),
    ("doctor plc --json FILE", Exit.PROBLEMS),
    ("audit FILE", Exit.OK),
]


@pytest.mark.parametrize(("words", "code"), ORDERS)
def test_the_file_is_found_wherever_it_stands(
    shop: str, words: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(shop).parent.parent)  # no collector.yaml here
    assert main(words.replace("FILE", shop).split()) == code, capsys.readouterr()
    assert "ns=2" not in capsys.readouterr().err, "only check and run warn"


@pytest.mark.parametrize("words", ["status FILE --jason", "schema more", "quarantine list FILE --older 1h"])
def test_what_nobody_knows_is_wrong_usage(shop: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.replace("FILE", shop).split())
    assert ended.value.code == Exit.USAGE
    assert "unrecognized arguments" in capsys.readouterr().err


def test_an_empty_quarantine_says_so(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quarantine", "list", "--reason", "other", shop]) == Exit.OK
    told = capsys.readouterr()
    assert "Nothing is in the quarantine" in told.err
    assert not told.out


def test_a_warning_is_said_where_the_configuration_is_looked_at(
    shop: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["check", shop])
    assert "ns=2" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("host", "warned"),
    [("127.0.0.1", False), ("[::1]", False), ("localhost", False), ("10.1.2.3", True), ("press-3", True)],
)
def test_only_what_leaves_this_computer_can_be_read_by_others(
    tmp_path: Path, host: str, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "shop.yaml"
    for security in ("none", "sign"):
        file.write_text(SHOP.replace("127.0.0.1", host, 1).replace("security: none", f"security: {security}"))
        main(["check", str(file)])
        assert ("anybody on the network can read" in "".join(capsys.readouterr())) == warned


ASKING = ["status", "export", "quarantine list", "release db --yes", "rewind db --yes", "record -o OUT.jsonl"]


@pytest.mark.parametrize("command", ASKING)
@pytest.mark.parametrize("what", ["noise", "another program's", "not ours to read"])
def test_a_buffer_that_cannot_be_read_is_a_sentence(
    shop: str,
    what: str,
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    buffer = Path(shop).parent / "state" / "buffer.sqlite"
    if what == "noise":
        buffer.write_bytes(bytes(range(256)) * 100)
    elif what == "not ours to read":
        forbid(monkeypatch, buffer)
    else:
        buffer.unlink()
        with closing(sqlite3.connect(buffer)) as other:
            other.execute("CREATE TABLE theirs (x)")
    words = command.replace("OUT", str(Path(shop).parent / "out")).split()
    assert main([*words, shop]) == Exit.FAILED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1].startswith(f"collector: {buffer}: ")


def forbid(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """As for a user who may not look into the folder; root may look everywhere."""
    stat = Path.stat

    def looked(path: Path, **options: bool) -> os.stat_result:
        if path == file:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", looked)


@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("export", "nowhere/out.csv"),
        ("export", "nowhere/out.parquet"),
        ("export", "."),
        ("record", "nowhere/out.jsonl"),
    ],
)
def test_a_file_that_cannot_be_written_is_a_sentence(
    shop: str, command: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(Path(shop).parent / place)
    assert main([command, shop, "-o", output]) == Exit.FAILED
    (said,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("collector: "))
    assert output in said


@pytest.mark.parametrize(
    "command", ["release db --yes", "quarantine purge --all --yes", "quarantine replay --all"]
)
def test_a_stopped_buffer_is_opened_as_it_is_configured(
    shop: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network drive only where that is allowed by name; and no bound but the configured one holds anybody up."""
    monkeypatch.setattr(place, "network_kind", lambda _path: "nfs")
    assert main([*command.split(), shop]) == Exit.FAILED
    assert "network drive" in capsys.readouterr().err
    file = Path(shop)
    file.write_text(file.read_text(encoding="utf-8") + "buffer: {network_drive: allow}\n", encoding="utf-8")
    assert main([*command.split(), shop]) in (Exit.OK, Exit.PROBLEMS)
    assert "network drive" not in capsys.readouterr().err
