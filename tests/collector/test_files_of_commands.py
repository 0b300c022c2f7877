"""One way to say which configuration, for all commands: the files as words, wherever they stand. `--config` goes on working."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.base import Delivery
from adapters.clock import SystemClock
from collector.__main__ import main
from collector.cli.exits import Exit
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
