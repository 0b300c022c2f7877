"""One feed for all who look: the picture is made once per beat and only differences travel.

Server-sent events and not a WebSocket: one direction is all that is needed, the browser reconnects by itself, and there
is no second protocol to defend. A reader that does not keep up is cut off; it reconnects and starts from a snapshot.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec.json

from collector.health import Health
from collector.journal.base import Ledger
from collector.page.changes import changes
from collector.page.live import LiveView

BEAT: Final = 0.25  # s: at most four changes per second
HEARTBEAT: Final = 3.0  # s without a change until the page is told that we are alive
BOOKS: Final = 1.0  # s between two looks into the ledger
READERS: Final = 32
SHARE: Final = 0.1  # of the event loop's time that pictures may take: a big workshop is painted less often
FRAMES: Final = 16  # that may wait for one reader

Books = Callable[[], Awaitable[Ledger]]


def frame(event: str, data: Any) -> bytes:
    """One event of a stream. JSON holds no line breaks, so one data line does. A comment goes ahead for proxies."""
    return b": %s\nevent: %s\ndata: %s\n\n" % (event.encode(), event.encode(), msgspec.json.encode(data))


class Reader:
    """One open page: frames wait here, at most FRAMES of them. `abort` cuts the connection at once."""

    def __init__(self, abort: Callable[[], None]) -> None:
        self._abort = abort
        self._frames: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._open = True

    def offer(self, piece: bytes) -> bool:
        """False when the reader is too slow for one more."""
        if len(self._frames) >= FRAMES:
            return False
        self._frames.append(piece)
        self._wake.set()
        return True

    def close(self) -> None:
        """No more frames; what waits is still sent."""
        self._open = False
        self._wake.set()

    def cut(self) -> None:
        """No more frames, not even those that wait: what blocks in sending them is freed by the abort."""
        self._frames.clear()
        self.close()
        self._abort()

    async def frames(self) -> AsyncIterator[bytes]:
        while True:
            while self._frames:
                yield self._frames.popleft()
            if not self._open:
                return
            self._wake.clear()
            await self._wake.wait()


class Feed:
    """Makes the picture and hands it out. `run` must be running; without readers it only watches the board."""

    def __init__(self, view: LiveView, health: Health, ledger: Books) -> None:
        self._view, self._health, self._ledger = view, health, ledger
        self._readers: set[Reader] = set()
        self._picture: dict[str, Any] = {}
        self._configured = view.configured  # of the picture
        self._books: Ledger | None = None
        self._looked = float("-inf")
        self._spoke = float("-inf")
        self._closed = False

    @property
    def full(self) -> bool:
        return self._closed or len(self._readers) >= READERS

    async def run(self) -> None:
        """Beat until cancelled. Errors of the ledger go up: without its journal the collector ends anyway."""
        clock, cost = self._view.clock, 0.0
        while True:
            await clock.sleep(max(BEAT, cost / SHARE))
            self._view.observe(self._health)
            books = await self.books() if self._readers else None
            began = clock.monotonic()
            if books is not None:
                self._tell(books)
            cost = clock.monotonic() - began

    async def books(self) -> Ledger:
        """The ledger, not older than BOOKS."""
        now = self._view.clock.monotonic()
        if self._books is None or now - self._looked >= BOOKS:
            self._books, self._looked = await self._ledger(), now
        return self._books

    async def join(self, abort: Callable[[], None] = lambda: None) -> Reader:
        """A new reader, who starts with the picture that the next change is counted from."""
        books = await self.books()
        reader = Reader(abort)
        if not self._readers:
            self._picture = self._view.picture(self._health, books)
            self._configured = self._view.configured
        reader.offer(frame("snapshot", self._picture))
        self._readers.add(reader)
        if self._closed:
            reader.close()
        return reader

    def leave(self, reader: Reader) -> None:
        self._readers.discard(reader)
        reader.close()

    def close(self) -> None:
        """End all streams, and those that still come."""
        self._closed = True
        for reader in tuple(self._readers):
            self.leave(reader)

    def _tell(self, books: Ledger) -> None:
        picture = self._view.picture(self._health, books)
        anew, self._configured = self._view.configured != self._configured, self._view.configured
        change = None if anew else changes(self._picture, picture)
        self._picture = picture
        if anew:
            self._push(frame("snapshot", picture))
        elif change is not None:
            self._push(frame("change", change))
        elif self._view.clock.monotonic() - self._spoke >= HEARTBEAT:
            self._push(frame("heartbeat", {"now": picture["now"]}))

    def _push(self, piece: bytes) -> None:
        self._spoke = self._view.clock.monotonic()
        for reader in [reader for reader in self._readers if not reader.offer(piece)]:
            self._readers.discard(reader)
            reader.cut()
