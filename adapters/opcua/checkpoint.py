"""What survives a session: how far the values have come, and how to find the subscription again at the server.

Small JSON with a version, because it is read by the next version of this program and now and then by a person. It is written
with every delivery, so the ticket, which seldom changes and may be long, is made into text once.

The ticket holds the session's AuthenticationToken, a secret. It lies in the journal (mode 0600), is never shown, dies with the
session's time-out (a minute by default), and over a secured channel is worth nothing without our private key, which the
server asks for again (OPC 10000-4, 5.6.3). Without security it travels in clear anyway.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Final

VERSION: Final = 2
_REPAIR: Final = 8  # fields of an open repair, as history.py writes it


def repairs_of(stored: dict[str, Any]) -> list[list[Any]]:
    """Open repairs, as far as they can be read."""
    found = stored.get("repairs")
    fit = found if isinstance(found, list) else []
    return [one for one in fit if isinstance(one, list) and len(one) == _REPAIR]


@dataclass(frozen=True)
class Ticket:
    """url, who: where and as whom. server, started, namespaces: which life of which server (texts, empty if it does not say).

    token, nonce: hexadecimal. timeout: s, of the session (revised). interval, keep_alive: s, revised. wanted: a digest of all
    items; marks: base64 of 8 bytes per client handle, empty if there were too many; live: [handle, server's id, count], runs
    of neighbours among the items that the server monitors, id 0 where there were too many runs. events: [handle, server's id].
    asked: interval and keep-alive in s that were asked for; empty in tickets of earlier versions.
    """

    url: str
    who: str
    server: str
    started: str
    namespaces: str
    token: str = field(repr=False)
    nonce: str = field(repr=False)
    timeout: float
    subscription: int
    interval: float
    keep_alive: float
    wanted: str
    marks: str = field(repr=False)
    live: list[list[int]] = field(repr=False)
    events: list[list[int]] = field(default_factory=list, repr=False)
    asked: list[float] = field(default_factory=list)

    @cached_property
    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, stored: Any) -> Ticket | None:
        try:
            return cls(**stored)
        except TypeError:
            return None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """newest: ns, the largest time of a value handed over, 0 if none. received: ns, our clock then. life: names one process.

    told: False while the gap that began with `newest` has still to be told. following: the sequence number that follows what
    is durable. repairs: of gaps, that are not done (history.py). stale: a loss was told, and the present values are not yet asked for.
    """

    newest: int
    received: int
    life: str
    told: bool = True
    following: int = 1
    ticket: Ticket | None = None
    repairs: list[list[Any]] = field(default_factory=list)
    stale: bool = False

    def to_bytes(self) -> bytes:
        head = {
            "version": VERSION,
            "newest": self.newest,
            "received": self.received,
            "life": self.life,
            "told": self.told,
            "following": self.following,
        }
        head |= {"repairs": self.repairs} if self.repairs else {}
        head |= {"stale": True} if self.stale else {}
        ticket = "null" if self.ticket is None else self.ticket.text
        return f'{json.dumps(head, separators=(",", ":"))[:-1]},"ticket":{ticket}}}'.encode()

    @classmethod
    def from_bytes(cls, blob: bytes | None) -> Checkpoint | None:
        """What was stored; None when there is nothing, or nothing that this version can read (then there is no gap record)."""
        if blob is None:
            return None
        try:
            stored: Any = json.loads(blob)
        except ValueError:
            return None
        if not isinstance(stored, dict):
            return None
        version = stored.pop("version", None)
        if version == 1:  # had no ticket that anybody could use
            stored = {key: stored[key] for key in ("newest", "received", "life") if key in stored}
        elif version == VERSION:
            stored["ticket"] = Ticket.from_json(stored.get("ticket"))
            stored["repairs"] = repairs_of(stored)
        else:
            return None
        try:
            return cls(**stored)
        except TypeError:
            return None
