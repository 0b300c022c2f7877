"""Which client handle stands for what, beyond the life of a session: what the checkpoint keeps of the items, and back.

A subscription that is taken up again goes on with the handles that it was made with. So the items of the present
configuration take the places that they had; what is new comes behind them, and what is gone leaves its place empty.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from adapters.opcua.checkpoint import Ticket
from adapters.opcua.items import MARK, Item
from adapters.opcua.nodeid import NodeAddress
from adapters.opcua.settings import OpcUaSignal

MOST_MARKS: Final = 4000
_MOST_RUNS: Final = 500


class Arrangement(NamedTuple):
    """items: by the handles of the old subscription, and new ones behind. missing: not monitored there (yet).

    superfluous: the server's ids of items that nobody wants any more.
    """

    items: list[Item]
    missing: list[Item]
    superfluous: list[int]


def digest_of(items: Iterable[Item], hold: float) -> str:
    """Of everything that is asked for, the order included."""
    whole = hashlib.blake2b(digest_size=16)
    for item in items:
        whole.update(item.mark(hold))
    return whole.hexdigest()


def marks_of(items: Sequence[Item], hold: float) -> str:
    """Base64, 8 bytes per handle, zeros for what is gone. Empty when it would be too much to store with every delivery."""
    if len(items) > MOST_MARKS:
        return ""
    return base64.b64encode(b"".join(bytes(MARK) if i.gone else i.mark(hold) for i in items)).decode()


def live_runs(items: Iterable[Item]) -> list[list[int]]:
    """[handle, server's id, count]: neighbours whose ids are neighbours too. Without ids if there are too many runs."""
    live = [
        (item.handle, item.at_server)
        for item in items
        if item.live and not item.gone and not item.signal.polled
    ]
    runs = _runs(live, 1)
    return runs if len(runs) <= _MOST_RUNS else _runs([(handle, 0) for handle, _ in live], 0)


def _runs(pairs: Iterable[tuple[int, int]], step: int) -> list[list[int]]:
    runs: list[list[int]] = []
    for handle, number in pairs:
        if runs and handle == runs[-1][0] + runs[-1][2] and number == runs[-1][1] + step * runs[-1][2]:
            runs[-1][2] += 1
        else:
            runs.append([handle, number, 1])
    return runs


def arranged(items: Sequence[Item], ticket: Ticket, hold: float) -> Arrangement | None:
    """The items under the handles of the ticket's subscription; None when nobody knows which is which any more."""
    places = _places(items, ticket, hold)
    if places is None:
        return None
    known = dict(_expanded(ticket.live))
    placed = {id(item) for item in places}
    together = [*places, *(item for item in items if id(item) not in placed)]
    superfluous = [known[handle] for handle, item in enumerate(places) if item.gone and handle in known]
    if 0 in superfluous:
        return None
    for handle, item in enumerate(places):
        if handle in known and not item.gone:
            item.succeed(known[handle])
    missing = [item for item in together if not item.live and not item.gone]
    return Arrangement(together, missing, superfluous)


def _places(items: Sequence[Item], ticket: Ticket, hold: float) -> list[Item] | None:
    marks = base64.b64decode(ticket.marks) if ticket.marks else b""
    if not marks:
        return list(items) if ticket.wanted == digest_of(items, hold) else None
    wanted = {item.mark(hold): item for item in items}
    cut = [marks[at : at + MARK] for at in range(0, len(marks), MARK)]
    return [wanted.get(mark) or _vacant() for mark in cut]


def _expanded(runs: Iterable[Sequence[int]]) -> Iterable[tuple[int, int]]:
    for handle, number, count in runs:
        for step in range(count):
            yield handle + step, number + step if number else 0


def _vacant() -> Item:
    signal = OpcUaSignal(name="gone", node="i=0")
    return Item(0, "", {}, signal, NodeAddress(None, 0, "i", 0), gone=True)
