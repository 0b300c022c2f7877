"""`check --online`: connect, find every node, ask for every item, and say what was found. Changes nothing on the server.

Same steps as a session, the same words for failures; the subscription is deleted with the session at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from asyncua.ua.uaerrors import UaStatusCodeError

from adapters.base import Bench, Finding
from adapters.errors import AdapterError
from adapters.opcua.channel import Channel
from adapters.opcua.errors import crossing
from adapters.opcua.events import Entry, entries_of
from adapters.opcua.facts import shortfalls
from adapters.opcua.finding import find
from adapters.opcua.items import Item, Items, items_of, wishes_of
from adapters.opcua.naming import Called, called
from adapters.opcua.security import Gate, introducing
from adapters.opcua.settings import OpcUaSource
from adapters.opcua.subscription import Desk, Subscription
from adapters.settings import Reading
from pipelines.registry import Registry

_SHOWN = 5
_SHORT = "the server decides: write what it gives (`every`, `queue`), or allow more in its own settings"


async def probe(gate: Gate, readings: Sequence[Reading], bench: Bench) -> list[Finding]:
    """One finding for the connection, and one for every node. Whom nobody trusts is asked nothing."""
    try:
        return await _look(gate, readings, bench)
    except AdapterError as error:
        return [Finding("error", gate.source, str(error), error.remedy)]


async def _look(gate: Gate, readings: Sequence[Reading], bench: Bench) -> list[Finding]:
    name, settings = gate.source, gate.settings
    items = Items(items_of(readings), _copy(bench.registry), wishes_of(readings))
    items.events = entries_of(readings, items.registry)
    channel = Channel(settings.url, settings.request_timeout)
    desk = Desk(channel, settings)
    with crossing(settings.url):
        shown = await gate.credentials()
        with introducing(shown):
            await channel.open(shown, settings.session_timeout)
        try:
            server = await desk.learn()
            await find(channel, desk, items)
            subscription = await desk.subscribe() if items.subscribes else None
            found = await desk.describe(items, items.all)
            said = await _called(desk, found)
            if subscription is not None:
                await desk.monitor(subscription, [item for item in found if not item.signal.polled])
                await items.events.attach(channel, desk, subscription.id)
        finally:
            await channel.close()
    for item in items.all:
        words = (_words(item, said.get(item.handle, Called())), item.about, _choice(item))
        item.about = ", ".join(word for word in words if word)
    return [
        *_connection(name, settings, server, subscription, shown.words),
        *(Finding("warning", name, words, _SHORT) for words in shortfalls(items)),
        *(_about(item, desk.namespaces) for item in items.all),
        *(_listened(entry) for entry in items.events.entries),
    ]


async def _called(desk: Desk, items: Sequence[Item]) -> dict[int, Called]:
    """For signals that have no label of their own; a server that refuses costs the words."""
    try:
        return await called(desk, [item for item in items if not item.signal.label])
    except UaStatusCodeError:
        return {}


def _words(item: Item, said: Called) -> str:
    """What is said already is not said again."""
    known = [item.signal.name, item.path.rpartition("/")[2], str(item.address.identifier)]
    new = [text for text in dict.fromkeys(said) if text.casefold() not in [one.casefold() for one in known]]
    name = [f"“{said.name}”"] if said.name in new else []
    return ": ".join([*name, *(text for text in new if text and text != said.name)])


def _choice(item: Item) -> str:
    """What becomes of it beyond one value."""
    if item.spread:
        return f"a signal for each field ({item.fields})" if item.fields else "a signal for each element"
    shown = ", ".join(f"{number}={text}" for number, text in list(item.texts.items())[:_SHOWN])
    more = " …" if len(item.texts) > _SHOWN else ""
    return f"enumeration {shown}{more}" if shown and item.signal.names else ""


def _copy(registry: Registry) -> Registry:
    """Looking must not give points to anything."""
    return Registry(registry.since(0))


def _connection(
    name: str, settings: OpcUaSource, server: dict[str, Any], subscription: Subscription | None, security: str
) -> Iterator[Finding]:
    product = (
        " ".join(str(word) for word in (server["product"], server["version"]) if word) or "an unnamed server"
    )
    yield Finding("ok", name, f"connected to {settings.url} ({product}); security: {security}")
    if server["state"]:
        yield Finding("warning", name, f"the server says that it is not running (state {server['state']})")
    if subscription is not None and subscription.interval > settings.publishing_interval * 1.01:
        yield Finding(
            "warning",
            name,
            f"the server publishes every {subscription.interval:g} s, not every {settings.publishing_interval:g} s",
            "nothing is lost as long as its queues are large enough; values come later",
        )


def _listened(entry: Entry) -> Finding:
    if entry.failure:
        hint = "check the node and the event type with an OPC UA browser, and the user's rights; left out, `from` is the Server object"
        return Finding("error", entry.name, entry.failure, hint)
    return Finding("ok", entry.name, "listening")


def _about(item: Item, namespaces: Sequence[str]) -> Finding:
    if item.failure:
        what = "name rule and path" if item.homeless else "path" if item.barred else "NodeId"
        hint = (
            f"check the {what} in the machine's own settings or with an OPC UA browser, and the user's rights"
        )
        return Finding("error", item.name, item.failure, hint)
    if item.address.uri is None and 0 < item.address.index < len(namespaces):
        uri = namespaces[item.address.index].replace("%", "%25").replace(";", "%3B")
        hint = f"write nsu={uri};{item.address.identifier_text} instead: the number may change with a restart"
        return Finding("warning", item.name, f"found, by namespace index {item.address.index}", hint)
    return Finding("ok", item.name, "found" + (f": {item.about}" if item.about else ""))
