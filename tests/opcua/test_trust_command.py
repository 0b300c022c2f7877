"""`collector trust`: shows, asks, stores, and the session believes it; and what happens when a certificate is renewed."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Telling
from adapters.clock import Clock, SystemClock
from adapters.errors import Misconfigured
from adapters.opcua.trust import TrustFolder
from adapters.opcua.validator import spaced
from collector.__main__ import main
from collector.health import Health, State
from collector.supervisor import Connected, Job, Supervisor
from tests.contracts.rig import eventually
from tests.fakes import FakeClock
from tests.opcua.certificates import Wish, make
from tests.opcua.rows.bed import Counted, let, passing
from tests.opcua.scripted import URI, ScriptedServer
from tests.opcua.test_trust_refused import CANARY, GOOD, ROOT, identity, reader, server, state

__all__ = ["server", "state"]
OTHER = make(Wish(issuer=ROOT, key=2))


@pytest.fixture
def config(server: ScriptedServer, tmp_path: Path) -> Path:
    return written(server, tmp_path)


def written(server: ScriptedServer, folder: Path, **keys: Any) -> Path:
    file = folder / "collector.yaml"
    more = "".join(f"    {key}: {json.dumps(words)}\n" for key, words in keys.items())
    file.write_text(
        f"version: 1\nstate: {folder}\nsources:\n  plc:\n    type: opcua\n    url: {server.url}\n    username: reader\n"
        f"    password: {CANARY}\n    request_timeout: 60s\n{more}"
        f"  open: {{type: opcua, url: opc.tcp://127.0.0.1:1, security: none}}\n"
        f'machines:\n  - {{id: m, source: plc, signals: [{{name: load, node: "nsu={URI};s=load"}}]}}\n'
    )
    return file


async def trust(config: Path, *words: str) -> int:
    """In a thread of its own, as a process beside the server would be."""
    return await asyncio.to_thread(main, ["trust", *words, "--config", str(config)])


async def gets_in(server: ScriptedServer, state: Path) -> bool:
    try:
        async with reader(server, state).session(None) as session:
            await anext(aiter(session))
            await asyncio.sleep(0)  # its jobs begin
    except Misconfigured:
        return False
    return True


async def test_it_shows_and_stores_nothing_without_a_yes(
    server: ScriptedServer, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await trust(config, "plc") == 1
    out, err = capsys.readouterr()
    for words in (
        spaced(GOOD.fingerprint),
        "CN=machine",
        "CN=Factory CA",
        "RSA 2048",
        "127.0.0.1",
        "urn:test:machine",
    ):
        assert words in out
    assert "SignAndEncrypt Basic256Sha256" in out
    assert "--fingerprint" in err
    assert not (config.parent / "trust").exists()
    assert server.record.users == []
    assert "CreateSession" not in server.record.requests
    assert CANARY not in out + err


async def test_what_was_confirmed_is_believed_until_it_is_removed(
    server: ScriptedServer, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = config.parent
    assert not await gets_in(server, folder)
    assert await trust(config, "plc", "--fingerprint", spaced(GOOD.fingerprint), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["stored"], told["refusal"], told["sha256"]) == (True, "", spaced(GOOD.fingerprint))
    assert await gets_in(server, folder)
    assert await trust(config, "plc") == 0
    assert "already" in capsys.readouterr().err
    assert await trust(config, "--list", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["source"], row["sha256"]) == ("plc", spaced(GOOD.fingerprint))
    assert await trust(config, "plc", "--remove") == 0
    assert not await gets_in(server, folder)
    assert await trust(config, "plc", "--remove") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
async def test_the_folder_is_for_us_alone(config: Path) -> None:
    assert await trust(config, "plc", "--yes") == 0
    trusted = config.parent / "trust"
    for path in trusted.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    parts = {str(path.relative_to(trusted)) for path in trusted.rglob("*") if path.is_dir()}
    assert parts >= {"trusted/certs", "trusted/crl", "issuers/certs", "issuers/crl"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
def test_what_root_stores_belongs_to_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sudo collector trust` beside a service with a user of its own: what it made must not be root's alone."""
    given: dict[Path, tuple[int, int]] = {}
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.chown", lambda path, user, group: given.update({Path(path): (user, group)}))
    TrustFolder(tmp_path).pin("plc", GOOD.certificate)
    owner = tmp_path.stat()
    made = {tmp_path / "trust", *(tmp_path / "trust").rglob("*")}
    assert given == dict.fromkeys(made, (owner.st_uid, owner.st_gid))


def test_redundant_servers_are_pinned_each_for_its_address(tmp_path: Path) -> None:
    """A new certificate at one address replaces that address's only; what belongs to no address any more goes."""
    folder, urls = TrustFolder(tmp_path), ["opc.tcp://a:4840", "opc.tcp://b:4840/x"]

    def trusted() -> set[str]:
        return set(folder.stock("plc").pinned)

    folder.pin("plc", GOOD.certificate, urls[0], urls)
    folder.pin("plc", OTHER.certificate, urls[1], urls)
    assert trusted() == {GOOD.fingerprint, OTHER.fingerprint}
    third = make(Wish(key=5))
    folder.pin("plc", third.certificate, urls[0], urls)
    assert trusted() == {third.fingerprint, OTHER.fingerprint}
    folder.pin("plc", GOOD.certificate, "opc.tcp://c:4840", ["opc.tcp://c:4840"])
    assert trusted() == {GOOD.fingerprint}


@pytest.mark.parametrize("also", [[], ["opc.tcp://127.0.0.1:1"]])
async def test_an_address_that_does_not_answer_hinders_no_other(
    server: ScriptedServer, tmp_path: Path, also: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(server, tmp_path, also=also)
    assert await trust(config, "plc", "--yes") == bool(also)
    assert len(TrustFolder(tmp_path).pinned("plc")) == 1
    assert await trust(config, "plc", "--yes", "--url", server.url) == 0
    assert await trust(config, "plc", "--yes", "--url", "opc.tcp://elsewhere:4840") == 2
    assert "no address of plc" in capsys.readouterr().err


async def test_another_fingerprint_than_given_stores_nothing(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await trust(config, "plc", "--fingerprint", OTHER.fingerprint, "--yes") == 1
    assert "another fingerprint" in capsys.readouterr().err
    assert not (config.parent / "trust").exists()


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("YES ", 0), ("y", 1), ("", 1)])
async def test_the_question(config: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda: answer)
    assert await trust(config, "plc") == code
    assert (config.parent / "trust").exists() is (code == 0)


@pytest.mark.parametrize("silence", [EOFError(), UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "")])
async def test_no_answer_is_a_no(
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    silence: Exception,
) -> None:
    """Ctrl-D, or what is no text. The question stands where words go: the data may go into a file."""

    def nobody() -> str:
        raise silence

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", nobody)
    assert await trust(config, "plc", "--json") == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["refusal"] == "Not trusted. Nothing was stored."
    assert "Is it the same? Type yes:" in err


async def test_the_line_for_the_configuration(
    server: ScriptedServer, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await trust(config, "plc", "--print") == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == f'server_certificate_sha256: "{spaced(GOOD.fingerprint)}"'
    assert not (config.parent / "trust").exists()
    pinned = written(server, config.parent, server_certificate_sha256=OTHER.fingerprint)
    assert await trust(pinned, "plc", "--yes") == 1, "what the configuration says counts"
    assert spaced(GOOD.fingerprint) in capsys.readouterr().err


async def test_what_would_be_refused_even_so_is_not_stored(
    server: ScriptedServer, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = (dt.datetime(year, 3, 1, tzinfo=dt.UTC) for year in (2023, 2025))
    old = make(Wish(first=first, last=last))
    server.entrance.identity = identity(old)
    assert await trust(config, "plc", "--yes") == 1
    assert "expired on 2025-03-01" in capsys.readouterr().err
    assert not (config.parent / "trust").exists()


@pytest.mark.parametrize("name", ["open", "nobody", None])
async def test_other_names_are_told_which_there_are(
    config: Path, capsys: pytest.CaptureFixture[str], name: str | None
) -> None:
    assert await trust(config, *([] if name is None else [name])) == 2
    assert "There are: plc" in capsys.readouterr().err


async def test_nobody_there(server: ScriptedServer, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await server.stop()
    assert await trust(config, "plc", "--yes") == 1
    assert "refused" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------- U20


class Kept:
    """A source under the real supervisor: what the board says, and when it was up."""

    def __init__(self, server: ScriptedServer, state: Path, clock: Clock | None = None) -> None:
        self.health, self.ups, self._state, self._server = Health(), 0, state, server
        self.reader = reader(server, state)
        supervisor = Supervisor(self.health, clock or SystemClock(), random.Random(1))
        self.task = asyncio.get_running_loop().create_task(supervisor.keep(Job("plc", "source", self._run)))

    async def _run(self, connected: Connected) -> None:
        async with self.reader.session(None) as session:
            assert isinstance(session, Telling)
            connected(session)
            self.ups += 1
            async for _ in session:
                pass

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_renewed_by_an_authority_goes_on(server: ScriptedServer, state: Path) -> None:
    """U20: the machine has a new certificate of the trusted authority: nobody has to do anything, T_r <= 10 s."""
    kept = Kept(server, state, clock := Counted())
    await eventually(lambda: kept.ups == 1, "connected")
    server.entrance.identity = identity(OTHER)
    server.cut()
    await eventually(lambda: kept.ups == 2, "connected again")
    assert 0.0 < clock.slept <= 10.0
    await kept.end()


async def test_renewed_and_pinned_is_a_clear_state_and_no_storm(
    server: ScriptedServer, config: Path, tmp_path: Path
) -> None:
    """U20: a pinned certificate was renewed: one clear state with the command to run, few attempts, and trust ends it."""
    assert await trust(config, "plc", "--yes") == 0
    clock = FakeClock(SystemClock().now())
    kept = Kept(server, tmp_path, clock)
    await eventually(lambda: kept.ups == 1, "connected")
    server.entrance.identity = identity(OTHER)
    server.record.users.clear()
    server.cut()
    await passing(clock, lambda: kept.health["plc"].state is State.NEEDS_ATTENTION, 30.0)
    row, asked = kept.health["plc"], server.record.count("GetEndpoints")
    assert "certificate changed" in row.error
    assert "collector trust plc" in row.remedy
    await let(clock, 30.0, 1.0)
    assert server.record.count("GetEndpoints") - asked <= 3, "no blind retries: some ten seconds apart"
    assert server.record.users == []
    await kept.end()
    assert await trust(config, "plc", "--yes") == 0
    assert await gets_in(server, tmp_path)
    server.entrance.identity = identity(GOOD)
    assert not await gets_in(server, tmp_path), "the old one is trusted no more"


# ---------------------------------------------------------------------------------------------------- our own


async def test_our_own_certificate_is_renewed_in_two_steps(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S10: the next certificate can be trusted by the machines before it is used; nothing changes silently."""
    from adapters.opcua.certificate import own_certificate

    def rows() -> Any:
        return json.loads(capsys.readouterr().out)

    first = own_certificate(str(config.parent), None, None)
    assert await trust(config, "--renew", "--json") == 0
    made = rows()
    assert made["in_use"] is False
    assert own_certificate(str(config.parent), None, None) == first
    assert await trust(config, "--renew", "--json") == 0
    assert rows() == made, "made once"
    der = Path(made["file"]).read_bytes()
    assert await trust(config, "--adopt", "--json") == 0
    assert rows()["in_use"] is True
    assert own_certificate(str(config.parent), None, None).certificate == der != first.certificate
    assert (config.parent / "pki" / "own" / "collector.der").read_bytes() == der
