"""`collector doctor` for an OPC UA source: every step of a connection by itself, as a session takes them, and then undone.

The same gate, the same desk and the same words as in a session, so that what is well here is well there. The session is closed
with its subscription whatever happens; nothing is written, and no value is taken from anybody.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509

from adapters.base import Bench, Finding
from adapters.errors import AdapterError
from adapters.opcua.certificate import own_certificate
from adapters.opcua.channel import Channel
from adapters.opcua.credentials import Credentials, Offer
from adapters.opcua.doctor_words import (
    certificate_words,
    endpoint_words,
    limit_words,
    node_words,
    state_words,
)
from adapters.opcua.errors import crossing
from adapters.opcua.facts import shortfalls
from adapters.opcua.finding import find
from adapters.opcua.items import Items, items_of, wishes_of
from adapters.opcua.security import Gate, introducing
from adapters.opcua.services import delete_subscription
from adapters.opcua.subscription import Desk
from adapters.opcua.trust_show import look
from adapters.reach import reach
from adapters.settings import Reading, on_this_computer
from pipelines.registry import Registry

_PORT: Final = 4840
_CURRENT_TIME: Final = 2258  # NodeIds.csv, as the others: Server_ServerStatus_CurrentTime
_LIMITS: Final = {
    "sessions": 24095,
    "subscriptions": 24096,
    "monitored items": 24097,
    "values in a queue": 31916,
    "nodes per read": 11705,
    "items per call": 11714,
    "nodes per browse": 11710,
    "sessions now": 2277,
}
_SHORT: Final = (
    "the server decides: write what it gives (`every`, `queue`), or allow more in its own settings"
)
_REFUSED: Final = "the server can read this node and does not watch it: look at its limits (above) and at the rights of this user"
_SHOWN: Final = 20
Step = Callable[[], Awaitable[list[Finding]]]


async def examine(gates: Sequence[Gate], readings: Sequence[Reading], bench: Bench) -> AsyncIterator[Finding]:
    """Every address of the source, one after the other."""
    for gate in gates:
        if len(gates) > 1:
            yield Finding("ok", "address", gate.settings.url)
        visit = _Visit(gate, readings, bench)
        try:
            async for finding in visit.run():
                yield finding
        finally:
            await visit.close()


class _Visit:
    def __init__(self, gate: Gate, readings: Sequence[Reading], bench: Bench) -> None:
        self._gate, self._settings, self._bench = gate, gate.settings, bench
        self._items = Items(items_of(readings), Registry(bench.registry.since(0)), wishes_of(readings))
        self._channel = Channel(gate.settings.url, gate.settings.request_timeout)
        self._desk = Desk(self._channel, gate.settings)
        self._shown = Credentials()
        self._server: dict[str, Any] = {}

    async def run(self) -> AsyncIterator[Finding]:
        """Up to the first error that nothing can work beyond."""
        parts = urlsplit(self._settings.url)
        async for finding in reach(parts.hostname or "", parts.port or _PORT):
            yield finding
            if finding.level == "error":
                return
        for step in (
            self._endpoints,
            self._ours,
            self._theirs,
            self._sign_in,
            self._state,
            self._nodes,
            self._values,
        ):
            async for finding in self._guarded(step.__name__.strip("_").replace("_", "-"), step):
                yield finding
                if finding.level == "error" and finding.where not in ("nodes", "values"):
                    return

    async def _guarded(self, name: str, step: Step) -> AsyncIterator[Finding]:
        try:
            with crossing(self._settings.url):
                found = await step()
        except AdapterError as error:
            found = [Finding("error", name, str(error), error.remedy)]
        for finding in found:
            yield finding

    async def close(self) -> None:
        await self._channel.close()

    async def _endpoints(self) -> list[Finding]:
        offers = await self._gate.offers()
        return list(endpoint_words(self._settings, offers, await self._strangers(offers)))

    async def _strangers(self, offers: Sequence[Offer]) -> list[str]:
        """Host names in the server's own addresses that nobody here knows."""
        names = {urlsplit(offer.url).hostname or "" for offer in offers} - {
            urlsplit(self._settings.url).hostname,
            "",
        }
        unknown = []
        for name in sorted(names)[:10]:
            try:
                async with asyncio.timeout(2.0):
                    await asyncio.get_running_loop().getaddrinfo(name, None)
            except OSError:  # TimeoutError is one
                unknown.append(name)
        return unknown

    async def _ours(self) -> list[Finding]:
        if self._settings.security == "none":
            if on_this_computer(urlsplit(self._settings.url).hostname or ""):
                return [Finding("ok", "ours", "security: none, on this computer")]
            words = "security: none: anybody on the network can read and change what is said"
            return [Finding("warning", "ours", words)]
        settings, gate = self._settings, self._gate
        own = await asyncio.to_thread(
            own_certificate, gate.state_dir, settings.certificate, settings.private_key, gate.now
        )
        certificate = x509.load_der_x509_certificate(own.certificate)
        remedy = "run `collector trust --renew`, have the machines trust the new one, then `collector trust --adopt`"
        return [
            certificate_words(
                "ours", f"the collector's certificate {own.name}", certificate, self._now(), remedy
            )
        ]

    async def _theirs(self) -> list[Finding]:
        if self._settings.security == "none":
            return []
        shown = await look(self._gate)
        if not shown.trusted:
            words = shown.fault or "its certificate is not trusted yet"
            remedy = f"compare the fingerprint and run `collector trust {self._gate.source}`"
            return [Finding("error", "theirs", f"{words} (SHA-256 {shown.as_json()['sha256']})", remedy)]
        remedy = f"renew it in the machine's OPC UA settings, then run `collector trust {self._gate.source}`"
        return [
            certificate_words(
                "theirs", "the machine's certificate, trusted,", shown.certificate, self._now(), remedy
            )
        ]

    async def _sign_in(self) -> list[Finding]:
        self._shown = await self._gate.credentials()
        with introducing(self._shown):
            await self._channel.open(self._shown, self._settings.session_timeout)
        given = self._channel.session_timeout
        found = [Finding("ok", "sign-in", f"signed in: {self._shown.words}")]
        if given < self._settings.session_timeout * 0.99:
            words = (
                f"the server forgets a session after {given:g} s, not {self._settings.session_timeout:g} s"
            )
            found.append(
                Finding(
                    "warning", "sign-in", words, "a longer cut costs the subscription, and is told as a gap"
                )
            )
        return found

    async def _state(self) -> list[Finding]:
        self._server = await self._desk.learn()
        clock, began = self._bench.clock, self._bench.clock.monotonic()
        (time,) = await self._desk.read(_CURRENT_TIME)
        took = clock.monotonic() - began
        limits = dict(zip(_LIMITS, await self._desk.read(*_LIMITS.values()), strict=True))
        return [*state_words(self._server, time, self._now(), took), *limit_words(limits, self._settings)]

    async def _nodes(self) -> list[Finding]:
        await find(self._channel, self._desk, self._items)
        await self._desk.describe(self._items, self._items.all)
        return list(node_words(self._items))

    async def _values(self) -> list[Finding]:
        """A subscription as the session would make it, and away again; none where everything is read instead."""
        fit = [item for item in self._items.all if not item.failure]
        if fit and all(item.signal.polled for item in fit):
            return [Finding("ok", "values", f"{len(fit)} signals are read, and need no subscription")]
        before = {item.handle for item in self._items.failed}
        subscription = await self._desk.subscribe()
        try:
            await self._desk.monitor(subscription, [item for item in fit if not item.signal.polled])
        finally:
            await delete_subscription(self._channel, subscription.id)
        fresh = [item for item in self._items.failed if item.handle not in before]
        refused = [
            Finding("error", "values", f"{one.name}: {one.failure}", _REFUSED) for one in fresh[:_SHOWN]
        ]
        return [*refused, *self._subscribed(subscription.interval, subscription.keep_alive)]

    def _subscribed(self, interval: float, keep_alive: float) -> Iterator[Finding]:
        count = sum(item.live for item in self._items.all)
        yield Finding("ok", "values", f"a subscription of {count} items works; it is deleted again")
        if interval > self._settings.publishing_interval * 1.01:
            words = f"the server publishes every {interval:g} s, not every {self._settings.publishing_interval:g} s"
            yield Finding(
                "warning",
                "values",
                words,
                "values come later; nothing is lost while its queues are large enough",
            )
        if keep_alive > self._settings.keep_alive * 1.01:
            words = f"silence is noticed after {2.5 * keep_alive:g} s, because the server says that it is alive every {keep_alive:g} s"
            yield Finding("warning", "values", words, "allow shorter keep-alives in the server's settings")
        yield from (Finding("warning", "values", words, _SHORT) for words in shortfalls(self._items))

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._gate.now() / 1e9, dt.UTC)
