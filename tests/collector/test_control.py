"""The control channel answers its owner and nobody else, and leaves no file behind."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from collector import control
from collector.control import FILE, GREETING, NotRunning, ask, serve_control
from tests.contracts.rig import a_while, leap


async def count(request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    for number in range(int(request.get("to", 3))):
        yield {"number": number}


async def forever(_request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    while True:
        yield {"tick": True}
        await asyncio.sleep(0.001)


COMMANDS = {"count": count, "forever": forever}


async def test_a_command_answers_in_rows(tmp_path: Path) -> None:
    async with serve_control(tmp_path, COMMANDS):
        assert [row async for row in ask(tmp_path, "count", to=2)] == [{"number": 0}, {"number": 1}]
        assert [row async for row in ask(tmp_path, "nonsense")] == [{"error": "unknown command 'nonsense'"}]


async def test_the_door_is_private_and_closed_afterwards(tmp_path: Path) -> None:
    async with serve_control(tmp_path, COMMANDS):
        if os.name == "posix":
            assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotRunning):
        await anext(ask(tmp_path, "count"))


@pytest.mark.parametrize(
    "request_line",
    [
        b"\n",
        b"5\n",
        b"[]\n",
        b"{}\n",
        b'{"token": null}\n',
        b'{"token": "\xc3\xa9"}\n',
        b"\xff\xfe\n",
        b"{" * 100_000,
    ],
)
async def test_strangers_get_nothing(tmp_path: Path, request_line: bytes) -> None:
    async with serve_control(tmp_path, COMMANDS):
        door = json.loads((tmp_path / FILE).read_text())
        reader, writer = await asyncio.open_connection("127.0.0.1", door["port"])
        writer.write(request_line)
        writer.write_eof()
        try:
            answer = await reader.read()
        except ConnectionResetError:
            answer = b""
        writer.close()
        assert answer == b""
        assert [row async for row in ask(tmp_path, "count", to=1)] == [{"number": 0}]


async def test_who_asks_while_the_process_stands_still_is_answered(tmp_path: Path) -> None:
    """Let in, and then the process stands still for longer than anybody has for his question: it is read all the same."""
    async with serve_control(tmp_path, COMMANDS):
        door = json.loads((tmp_path / FILE).read_text())
        reader, writer = await asyncio.open_connection("127.0.0.1", door["port"])
        await a_while(0.05)
        leap(3600.0)
        writer.write(json.dumps({"token": door["token"], "command": "count", "to": 1}).encode() + b"\n")
        assert [await reader.readline() for _ in range(2)] == [GREETING, b'{"number": 0}\n']
        writer.close()


async def test_leaving_ends_an_open_stream(tmp_path: Path) -> None:
    async with serve_control(tmp_path, COMMANDS):
        rows = ask(tmp_path, "forever")
        assert await anext(rows) == {"tick": True}
    assert [row async for row in rows][-1:] in ([], [{"tick": True}])


async def test_a_door_left_by_a_killed_process_is_not_mistaken_for_a_running_one(tmp_path: Path) -> None:
    async with serve_control(tmp_path, COMMANDS):
        left = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(left)
    with pytest.raises(NotRunning):
        await anext(ask(tmp_path, "count"))


async def nothing(_request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    rows: tuple[Mapping[str, Any], ...] = ()
    for row in rows:
        yield row


async def failing(_request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    yield {"number": 0}
    raise LookupError("nobody foresaw this")


async def test_a_command_that_fails_is_told_so_and_ends_no_collector(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve_control(tmp_path, {**COMMANDS, "failing": failing, "nothing": nothing}):
        first, last = [row async for row in ask(tmp_path, "failing")]
        assert first == {"number": 0}
        assert "nobody foresaw this" in last["error"]
        assert [row async for row in ask(tmp_path, "count", to=1)] == [{"number": 0}]
        assert [row async for row in ask(tmp_path, "nothing")] == []
    assert "nobody foresaw this" in caplog.text


async def slowly(_request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    await asyncio.sleep(1.0)  # longer than a greeting may take here; still longer would be as right
    yield {"number": 0}


async def test_a_command_may_take_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "HELLO", 0.5)
    async with serve_control(tmp_path, {"slowly": slowly}):
        assert [row async for row in ask(tmp_path, "slowly")] == [{"number": 0}]


async def test_a_port_that_somebody_silent_has_by_now_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, and another program listens there that waits for something else; until now `collector status` waited for ever."""
    monkeypatch.setattr(control, "HELLO", 0.5)
    over = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        (tmp_path / FILE).write_text(json.dumps({"port": port, "token": "t", "pid": 1}))
        with pytest.raises(NotRunning, match="nobody answers"):
            await anext(ask(tmp_path, "count"))
        over.set()


async def test_a_collector_of_before_the_greeting_is_understood(tmp_path: Path) -> None:
    """A program that was updated asks one that has not been started again yet."""

    async def older(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"number": 0}\n\n')
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(older, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        (tmp_path / FILE).write_text(json.dumps({"port": port, "token": "t", "pid": 1}))
        assert [row async for row in ask(tmp_path, "count")] == [{"number": 0}]


@pytest.mark.parametrize("answer", [b"", b'{"half": ', b"-ERR unknown command\r\n", None])
async def test_who_is_gone_before_he_has_answered_is_not_running(
    tmp_path: Path, answer: bytes | None
) -> None:
    """Killed after he was asked, also by a reset of the connection (None); or another program has his port by now."""

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        if answer is None:
            writer.transport.abort()
        else:
            writer.write(answer)
            writer.close()

    async with await asyncio.start_server(leave, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        (tmp_path / FILE).write_text(json.dumps({"port": port, "token": "t", "pid": 1}))
        with pytest.raises(NotRunning):
            await anext(ask(tmp_path, "count"))
