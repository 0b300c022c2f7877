"""Waiting until everything has happened that needs no time: for tests in which time is a clock that the test moves.

So many turns of the event loop after each step are a guess that a busy machine proves wrong: it takes fewer turns per millisecond,
and the clock runs away from both ends of the wire. So this looks at what could still move: sockets, threads, the loop itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import socket
import stat
import struct
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.contracts.rig import PATIENCE

_SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes that are not yet sent
_ESTABLISHED, _SYN_SENT = 1, 2  # linux/tcp_states.h
_RECEIVED, _SENT = (
    128,
    200,
)  # linux/tcp.h, struct tcp_info: tcpi_bytes_received; tcpi_bytes_sent, tcpi_bytes_retrans
_LOOPBACK = "127."

Address = tuple[str, int]


async def settled() -> None:
    """Nothing is in a socket of this process, no thread works for the loop, and no turn of it brings anything."""
    jobs = watched()
    quiet, deadline = 0, time.monotonic() + PATIENCE
    while quiet < 2:
        assert time.monotonic() < deadline, f"something moves all the time: {jobs or 'sockets or the loop'}"
        await asyncio.sleep(0)
        quiet = 0 if _moving(jobs) else quiet + 1
        if quiet and _under_way():  # the kernel may hand over later what was sent, and who has left
            await asyncio.sleep(0.001)
            quiet = 0


def watched() -> set[asyncio.Future[Any]]:
    """What threads do for this loop, from the first call on."""
    loop: Any = asyncio.get_running_loop()
    known: set[asyncio.Future[Any]] | None = getattr(loop, "given_to_threads", None)
    if known is not None:
        return known
    jobs: set[asyncio.Future[Any]] = set()
    hand_over = loop.run_in_executor

    def counted(*work: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = hand_over(*work)
        jobs.add(future)
        future.add_done_callback(jobs.discard)
        return future

    loop.run_in_executor, loop.given_to_threads = counted, jobs
    return jobs


def _moving(jobs: set[asyncio.Future[Any]]) -> bool:
    loop: Any = asyncio.get_running_loop()
    return bool(jobs or loop._ready or any(_busy(number) for number in _sockets()))


def _sockets() -> Iterator[int]:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if stat.S_ISSOCK(entry.stat().st_mode):
                yield int(entry.name)
        except OSError:
            continue  # the folder's own, which is closed by now


def _busy(number: int) -> bool:
    """Bytes that were not yet read or sent; somebody who has not been let in."""
    try:
        return any(_count(number, what) for what in (termios.FIONREAD, _SIOCOUTQNSD))
    except OSError:  # it listens
        waiting = select.poll()
        waiting.register(number, select.POLLIN)
        return bool(waiting.poll(0))


def _count(number: int, what: int) -> int:
    found: tuple[int] = struct.unpack("i", fcntl.ioctl(number, what, b"\0\0\0\0"))
    return found[0]


class End(NamedTuple):
    """Of a connection over IPv4. sent, received: bytes so far, each counted once."""

    here: Address
    there: Address | None
    state: int
    sent: int
    received: int


def _under_way() -> bool:
    """Something is between two sockets of this computer: bytes, or the word that one of them is gone."""
    ends: dict[tuple[Address | None, Address | None], End] = {(end.here, end.there): end for end in _ends()}
    return any(_on_its_way(end, ends.get((end.there, end.here))) for end in ends.values())


def _on_its_way(end: End, other: End | None) -> bool:
    if not end.here[0].startswith(_LOOPBACK):
        return False
    if end.there is None:
        return end.state == _SYN_SENT
    if other is not None:
        return other.received < end.sent
    return end.state == _ESTABLISHED and not _held_by_another(end.here[1], end.there[1])


def _ends() -> Iterator[End]:
    for number in _sockets():
        try:
            with socket.socket(fileno=os.dup(number)) as held:
                if (held.family, held.proto) == (socket.AF_INET, socket.IPPROTO_TCP):
                    yield _end(held)
        except OSError:
            continue  # closed by a thread in this moment


def _end(held: socket.socket) -> End:
    told = held.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 240)
    (received,), (sent, again) = (
        struct.unpack_from("Q", told, _RECEIVED),
        struct.unpack_from("QQ", told, _SENT),
    )
    try:
        there = held.getpeername()
    except OSError:  # it listens, or it is not connected yet, or no longer
        there = None
    return End(held.getsockname(), there, told[0], sent - again, received)


def _held_by_another(ours: int, theirs: int) -> bool:
    """The other end is alive, in another process or not yet let in: nobody is on his way out."""
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
            _, local, remote, state, *_ = line.split()
            ports = [int(where.rpartition(":")[2], 16) for where in (local, remote)]
            if ports == [theirs, ours]:
                return int(state, 16) == _ESTABLISHED
    return False
