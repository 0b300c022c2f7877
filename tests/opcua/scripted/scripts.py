"""Small behaviours that a test puts on a server, one beside the other: `server.scripts.append(Refuse("Read", code, times=1))`.

Each has up to four places where it can step in: a request before it is served, its answer after it was sent, a notification
on its way, and the chunks that go out. What it does not care about it lets pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.opcua.scripted import codes
from tests.opcua.scripted.codec.services import Asked, fault
from tests.opcua.scripted.subscription import Notice, Subscription

if TYPE_CHECKING:
    from tests.opcua.scripted.server import Connection


@dataclass(frozen=True)
class Reply:
    """Answer this; None: nothing ever. later: s."""

    body: bytes | None
    later: float = 0.0


@dataclass(frozen=True)
class Later:
    """Serve it as always, and answer after so many seconds of the server's clock."""

    seconds: float


@dataclass(frozen=True)
class Cut:
    """Reset the connection instead of answering."""


Verdict = Reply | Later | Cut | None


class Script:
    """Lets everything pass."""

    def before(self, connection: Connection, asked: Asked) -> Verdict:
        return None

    def after(self, connection: Connection, asked: Asked) -> None:
        """The answer, if there was one at once, has been written."""

    def notice(self, subscription: Subscription, notice: Notice) -> Sequence[Notice]:
        """What is sent in its place: nothing, another one, several."""
        return [notice]

    def chunk(self, connection: Connection, chunk: bytes) -> bytes:
        """What is written in its place, after all security."""
        return chunk


@dataclass
class Times(Script):
    """Whatever happens the first `times` times to requests of a service (None: always). passing: let so many go by first."""

    service: str
    times: int | None = None
    passing: int = 0
    seen: int = field(default=0, init=False)

    def before(self, connection: Connection, asked: Asked) -> Verdict:
        if asked.name != self.service:
            return None
        self.seen += 1
        number = self.seen - self.passing
        if number < 1 or (self.times is not None and number > self.times):
            return None
        return self.verdict(connection, asked)

    def verdict(self, connection: Connection, asked: Asked) -> Verdict:
        raise NotImplementedError


@dataclass
class Refuse(Times):
    """A ServiceFault."""

    code: int = codes.SERVICE_UNSUPPORTED

    def verdict(self, connection: Connection, asked: Asked) -> Verdict:
        return Reply(fault(asked, self.code))


@dataclass
class Ignore(Times):
    """No answer at all."""

    def verdict(self, connection: Connection, asked: Asked) -> Verdict:
        return Reply(None)


@dataclass
class Slow(Times):
    """The right answer, after `seconds`."""

    seconds: float = 0.0

    def verdict(self, connection: Connection, asked: Asked) -> Verdict:
        return Later(self.seconds)


@dataclass
class CutAt(Times):
    """The connection is reset when this request comes."""

    def verdict(self, connection: Connection, asked: Asked) -> Verdict:
        return Cut()


@dataclass
class Answer(Times):
    """What the test makes of the request."""

    make: Callable[[Asked], bytes | None] = lambda _: None

    def verdict(self, connection: Connection, asked: Asked) -> Verdict:
        return Reply(self.make(asked))


@dataclass
class CutAfter(Script):
    """The connection is reset behind the answer to the n-th request that this server gets, whatever it asks."""

    number: int
    seen: int = field(default=0, init=False)

    def after(self, connection: Connection, asked: Asked) -> None:
        self.seen += 1
        if self.seen == self.number:
            connection.abort()


@dataclass
class Some(Script):
    """The next `times` notifications; begins: with this number, at the earliest."""

    times: int = 1
    begins: int | None = None

    def concerns(self, notice: Notice) -> bool:
        if notice.sequence == self.begins:
            self.begins = None
        return bool(self.times and notice.parts) and self.begins is None


@dataclass
class Swallow(Some):
    """So many notifications are numbered and kept, and not sent."""

    def notice(self, subscription: Subscription, notice: Notice) -> Sequence[Notice]:
        if not self.concerns(notice):
            return [notice]
        self.times -= 1
        return []


@dataclass
class Twice(Some):
    """So many notifications are sent two times."""

    def notice(self, subscription: Subscription, notice: Notice) -> Sequence[Notice]:
        if not self.concerns(notice):
            return [notice]
        self.times -= 1
        return [notice, notice]


@dataclass
class Swap(Some):
    """So many pairs of notifications come in the wrong order."""

    held: list[Notice] = field(default_factory=list, init=False)

    def notice(self, subscription: Subscription, notice: Notice) -> Sequence[Notice]:
        if not self.held and not self.concerns(notice):
            return [notice]
        if not self.held:
            self.held.append(notice)
            return []
        self.times -= 1
        return [notice, self.held.pop()]


@dataclass
class Mute(Script):
    """Nothing is sent any more, and nothing is served: a line that is dead without saying so (half-open). `on` switches it."""

    on: bool = True

    def before(self, connection: Connection, asked: Asked) -> Verdict:
        return Reply(None) if self.on else None

    def chunk(self, connection: Connection, chunk: bytes) -> bytes:
        return b"" if self.on else chunk


@dataclass
class Mangle(Script):
    """Changes bytes of the chunks that go out, `times` times: `change` gets a chunk whole."""

    change: Callable[[bytes], bytes]
    times: int | None = 1
    kind: bytes = b"MSG"

    def chunk(self, connection: Connection, chunk: bytes) -> bytes:
        if chunk[:3] != self.kind or self.times == 0:
            return chunk
        if self.times is not None:
            self.times -= 1
        return self.change(chunk)


@dataclass
class Unsupported(Script):
    """A small device: these services are not there."""

    services: Sequence[str]

    def before(self, connection: Connection, asked: Asked) -> Verdict:
        return Reply(fault(asked, codes.SERVICE_UNSUPPORTED)) if asked.name in self.services else None
