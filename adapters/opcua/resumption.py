"""How a session begins: with the subscription of the last one if the server still has it, with a new one otherwise.

First the old session on the new channel (ActivateSession, OPC 10000-4, 5.6.3): quick, and the only way that a server may allow
anonymous users. Then a new session and TransferSubscriptions (5.14.7). Nothing is taken up that may belong to another life of
the server: numbers that were ours may be somebody else's after a restart.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from asyncua.ua.uaerrors import UaError

from adapters.errors import NotConnected
from adapters.opcua.channel import Channel, SessionSecret
from adapters.opcua.checkpoint import Checkpoint, Ticket
from adapters.opcua.credentials import Credentials
from adapters.opcua.errors import FOREIGN, doing, name_of
from adapters.opcua.finding import find
from adapters.opcua.handles import Arrangement, arranged, digest_of, live_runs, marks_of
from adapters.opcua.items import Items
from adapters.opcua.peer import Peer
from adapters.opcua.services import GONE, Resent, delete_subscription, proves_itself, republish, transfer
from adapters.opcua.settings import OpcUaSource
from adapters.opcua.subscription import Desk, Subscription
from pipelines.registry import Registry

log = logging.getLogger("adapters.opcua")
_ENDED: Final = ("BadSessionIdInvalid", "BadSessionClosed")
_GOODBYE: Final = 2.0  # s for an answer of who would end by itself
_CLOCKS_ARE_SET: Final = 2000  # the year from which on a time is one; 1601 and 1970 are where clocks begin
_TAKING_UP: Final = "taking up the subscription of the last session"
_TRIES: Final = 3  # of an old session whose server answered by dropping the connection


@dataclass(slots=True)
class Memory:
    """What one source remembers between its sessions beyond the checkpoint, for as long as the process lives.

    ticket: the newest one, durable or not. tries: in vain, with the session of `tried`. dismissed: the session that was asked
    to go. known: `tried` is still there, by the server's word. avoid: an endpoint that sent us away. stale: a loss was told, and
    the present values are still to be asked for; first values of a new subscription are such an answer.
    """

    ticket: Ticket | None = None
    tried: str = ""
    tries: int = 0
    known: bool = False
    dismissed: str = ""
    endpoint: str = ""
    avoid: str = ""
    stale: bool = False


def _secret(ticket: Ticket) -> SessionSecret:
    return SessionSecret(bytes.fromhex(ticket.token), bytes.fromhex(ticket.nonce))


class Start(NamedTuple):
    """how: "" for a new subscription, else how the old one was taken up. why: what stood against taking up an old one.

    following: the number expected first. first: the answer to asking for it again. proven: the server can give back what was
    not acknowledged.
    """

    subscription: Subscription
    server: Mapping[str, Any]
    proven: bool
    how: str = ""
    why: str = ""
    following: int = 1
    first: Resent = Resent(None)
    arrangement: Arrangement | None = None


class Beginning:
    """One attempt, on a channel that is open and has no session.

    holds: the subscription of an earlier session may be in ours, and nobody has told yet whether this attempt goes on with it.
    revived: in the very session that it had. An attempt that ends in between must not take it along.
    """

    def __init__(self, peer: Peer, items: Items, memory: Memory) -> None:
        self._channel, self._desk, self._settings = peer.channel, peer.desk, peer.settings
        self._items, self._memory = items, memory
        self.holds = self.revived = False

    async def begin(self, credentials: Credentials, since: Checkpoint | None) -> Start:
        ticket = None if since is None or not self._items.subscribes else since.ticket
        if since is None or ticket is None or not ticket.started or (ticket.url, ticket.who) != self._place():
            await self._channel.sign_in(credentials)
            return await self._anew(await self._desk.learn(), "")
        how = await self._revived(ticket, credentials)
        self.holds = self.revived = bool(how)
        if not how:
            await self._sign_in_beside(ticket, credentials)
        server = await self._desk.learn()
        if identity(server, self._desk) != (ticket.server, ticket.started, ticket.namespaces):
            if how:
                self._memory.tries = _TRIES
                await self._channel.close(keep=True)  # it is not ours to end
                raise NotConnected(
                    f"{self._settings.url}: the session is another client's after a restart of the server"
                )
            return await self._anew(server, "the server was restarted")
        self.holds = True
        with doing(_TAKING_UP):
            refusal = "" if how else await transfer(self._channel, ticket.subscription)
        self.holds = not refusal
        if not how:
            await self._dismissed(ticket, credentials)
        if refusal:
            return await self._anew(server, refusal)
        self._memory.stale = self._memory.stale or since.stale
        return await self._taken_up(ticket, since.following, server, how or "transferred")

    async def _sign_in_beside(self, ticket: Ticket, credentials: Credentials) -> None:
        """A new session, while the old one may still take a place: if that was the last place, the next attempt has it."""
        try:
            await self._channel.sign_in(credentials)
        except UaError as error:
            if name_of(error) == "BadTooManySessions":
                await self._dismissed(ticket, credentials)
            raise

    async def _dismissed(self, ticket: Ticket, credentials: Credentials) -> None:
        """A session that is refused to us and still there is asked to go, once, so that it takes no place until its time-out.

        On a channel of its own, and whatever the answer: it would end by itself.
        """
        if not self._memory.known or self._memory.dismissed == ticket.token:
            return
        self._memory.dismissed = ticket.token
        channel = Channel(self._settings.url, min(self._settings.request_timeout, _GOODBYE))
        with suppress(*FOREIGN):
            try:
                await channel.connect(credentials, ticket.timeout)
                gone = await channel.end_session(_secret(ticket))
                log.debug("%s: the old session %s", self._settings.url, "is ended" if gone else "stays")
            finally:
                await channel.close(keep=True)

    async def take_back(self, ticket: Ticket, credentials: Credentials) -> None:
        """Have the subscription in a session of this channel, so that it ends with it."""
        if not await self._revived(ticket, credentials):
            await self._channel.sign_in(credentials)
            server = await self._desk.learn()
            if identity(server, self._desk) == (ticket.server, ticket.started, ticket.namespaces):
                await transfer(self._channel, ticket.subscription)
            await self._dismissed(ticket, credentials)

    def _place(self) -> tuple[str, str]:
        return self._settings.url, who(self._settings)

    async def _revived(self, ticket: Ticket, credentials: Credentials) -> str:
        memory = self._memory
        if memory.tried != ticket.token:
            memory.tried, memory.tries, memory.known = ticket.token, 0, False
        if memory.tries >= _TRIES:
            return ""
        memory.tries += 1
        try:
            await self._channel.revive(credentials, _secret(ticket), ticket.timeout)
        except UaError as error:
            log.debug("%s: the old session is not revived: %s", self._settings.url, name_of(error))
            memory.tries, memory.known = _TRIES, name_of(error) not in _ENDED
            return ""
        memory.tries = 0
        return "session continued"

    async def _taken_up(self, ticket: Ticket, following: int, server: Mapping[str, Any], how: str) -> Start:
        await find(self._channel, self._desk, self._items)
        arrangement = arranged(self._items.all, ticket, self._settings.hold)
        if arrangement is None:
            await delete_subscription(self._channel, ticket.subscription)
            return await self._anew(server, "the configuration has changed too much")
        with doing(_TAKING_UP):
            first = await republish(self._channel, ticket.subscription, following)
        if first.refusal in GONE:
            for item in self._items.all:
                item.live = False
            return await self._anew(server, first.refusal)
        arrangement.superfluous.extend(self._items.events.resume(ticket.events))
        return Start(await self._as_wished(ticket), server, True, how, "", following, first, arrangement)

    async def _as_wished(self, ticket: Ticket) -> Subscription:
        """With the interval and keep-alive of the present configuration, if the server can change them."""
        as_it_was = Subscription(ticket.subscription, ticket.interval, ticket.keep_alive)
        if ticket.asked in ([], asked_of(self._settings)):
            return as_it_was
        changed = await self._desk.change(ticket.subscription)
        if isinstance(changed, Subscription):
            return changed
        log.warning(
            "%s: the subscription stays as it was: the server does not change it (%s)",
            self._settings.url,
            changed,
        )
        return as_it_was

    async def _anew(self, server: Mapping[str, Any], why: str) -> Start:
        self.holds = self.revived = self._memory.stale = False
        await find(self._channel, self._desk, self._items)
        if not self._items.subscribes:
            nothing = Subscription(0, self._settings.publishing_interval, self._settings.keep_alive)
            return Start(nothing, server, proven=False)
        subscription = await self._desk.subscribe()
        dated = bool(identity(server, self._desk)[1])
        proven = dated and await proves_itself(self._channel, subscription.id)
        return Start(subscription, server, proven, why=why)


async def forget(peer: Peer, ticket: Ticket, credentials: Credentials, memory: Memory) -> None:
    """End the session of this ticket and delete its subscription, if the server still has them."""
    beginning = Beginning(peer, Items([], Registry()), memory)
    await peer.channel.connect(credentials, ticket.timeout)
    try:
        await beginning.take_back(ticket, credentials)
    finally:
        await peer.channel.close()


def latest(since: Checkpoint | None, memory: Memory) -> Checkpoint | None:
    """What to go on from: the durable word, with the ticket of this process if that is newer (a nonce serves once)."""
    ticket = memory.ticket
    if since is None or ticket is None or ticket == since.ticket:
        return since
    if since.ticket is not None and _same_life(ticket, since.ticket):
        return replace(since, ticket=ticket)
    return replace(since, told=False, following=1, ticket=ticket)


def _same_life(one: Ticket, other: Ticket) -> bool:
    return (one.url, one.server, one.started, one.subscription) == (
        other.url, other.server, other.started, other.subscription,
    )  # fmt: skip


def ticket_of(peer: Peer, subscription: Subscription, server: Mapping[str, Any], items: Items) -> Ticket:
    """For the next session, by what is so now."""
    settings, secret, hold = peer.settings, peer.channel.secret, peer.settings.hold
    name, started, namespaces = identity(server, peer.desk)
    return Ticket(
        url=settings.url,
        who=who(settings),
        server=name,
        started=started,
        namespaces=namespaces,
        token=secret.token.hex(),
        nonce=secret.nonce.hex(),
        timeout=peer.channel.session_timeout,
        subscription=subscription.id,
        interval=subscription.interval,
        keep_alive=subscription.keep_alive,
        wanted=digest_of(items.all, hold) if not any(item.gone for item in items.all) else "",
        marks=marks_of(items.all, hold),
        live=live_runs(items.all),
        events=items.events.live,
        asked=asked_of(settings),
    )


def asked_of(settings: OpcUaSource) -> list[float]:
    """What a server is asked for of a subscription as a whole."""
    return [settings.publishing_interval, settings.keep_alive]


def who(settings: OpcUaSource) -> str:
    """As whom we come: the server ties a session to it."""
    return _digest([settings.security, settings.policy, settings.username or ""])


def identity(server: Mapping[str, Any], desk: Desk) -> tuple[str, str, str]:
    """(the server's name, when it was started, a digest of its namespaces): equal in the same life of the same server.

    When it was started is "" if it does not say, or says what a clock says that was never set: the same after every restart.
    Such a server is asked for nothing of an earlier session, because its numbers may begin again.
    """
    servers, started = server["servers"], server["started"]
    name = str(servers[0]) if isinstance(servers, list) and servers else ""
    dated = isinstance(started, datetime) and started.year >= _CLOCKS_ARE_SET
    return name, str(started) if dated else "", _digest(desk.namespaces)


def _digest(texts: Sequence[str]) -> str:
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "replace"), digest_size=8).hexdigest()
