"""A visit to the broker for `check --online`: connects, subscribes every topic, and listens for a moment.

It changes nothing: its client id is its own and the broker forgets it at once, shared subscriptions are visited without their
group (to take part would take messages away), and what it decodes goes into a registry that is thrown away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from adapters.awake import patient
from adapters.base import Bench, Finding
from adapters.clock import Clock
from adapters.errors import AdapterError
from adapters.mqtt import errors
from adapters.mqtt.adopted import Adopted
from adapters.mqtt.channel import Message
from adapters.mqtt.connection import FAREWELL, Connection
from adapters.mqtt.opening import connect
from adapters.mqtt.routes import Routes
from adapters.mqtt.settings import MqttSource
from adapters.mqtt.sheet import Sheet
from adapters.mqtt.sparkplug.host import Policy
from adapters.mqtt.topics import Template, parse_template
from adapters.settings import Reading
from pipelines.batch import Flag
from pipelines.registry import Registry

LISTEN = 2.0  # seconds to wait for a first message
SKEW, SLOW = 1.0, 60.0  # seconds that payloads may be ahead, and all of them behind
ENOUGH = 1000  # messages that are looked at


class _Visit(NamedTuple):
    source: str
    settings: MqttSource
    connection: Connection
    readings: Sequence[Reading]
    routes: Routes


async def look_around(
    source: str, settings: MqttSource, client_id: str, readings: Sequence[Reading], clock: Clock
) -> Sequence[Finding]:
    """One finding for the connection, one per filter, one per read entry."""
    listening = Policy(settings.sparkplug_namespace, settings.reorder, rebirth=False, asked={})
    adopted = Adopted(settings.adopt_limit)
    routes = Routes(readings, Bench(Registry(), clock), adopted, policy=listening)
    visitor = settings.model_copy(update={"session_expiry": 0.0})
    try:
        connection = await connect(visitor, f"{client_id}-check", clock.now, visiting=True)
    except AdapterError as error:
        return [Finding("error", source, str(error), error.remedy)]
    try:
        visit = _Visit(source, settings, connection, readings, routes)
        return [*_greeting(visit), *await _subscribed(visit), *await _heard(visit)]
    except AdapterError as error:
        return [Finding("error", source, str(error), error.remedy)]
    finally:
        connection.close()


def _greeting(visit: _Visit) -> Sequence[Finding]:
    connection = visit.connection
    settings, version = connection.settings, connection.version
    found = [
        Finding("ok", visit.source, f"connected to {settings.url} with MQTT {version}; {connection.security}")
    ]
    if settings.version == "auto" and version != "5":
        hint = "Few messages are in flight at once then. Set version: 3.1.1 to spare the attempt."
        found.append(
            Finding(
                "warning",
                visit.source,
                f"{settings.url} refuses MQTT 5 or does not answer it; 3.1.1 is used",
                hint,
            )
        )
    return [*found, *_limits(visit)]


def _limits(visit: _Visit) -> Sequence[Finding]:
    """What this broker cannot hold while the collector is away or behind: named before it costs values."""
    connection, where = visit.connection, visit.source
    answer = connection.answer.properties if connection.answer else {}
    found = []
    if connection.version != "5":
        said = "with MQTT 3.1.1 the broker decides how few messages are in flight (mosquitto: 20) and queues few behind them (1000)"
        found.append(Finding("warning", where, said, f"What comes faster is lost at the broker. {QUEUE}"))
    else:
        said = "the broker does not tell how many messages it queues for a client that is away (mosquitto: 1000 by default)"
        found.append(Finding("ok", where, said, QUEUE))
    kept = answer.get("SessionExpiryInterval")
    if kept == 0:
        hint = "What comes while the collector is away is lost. Allow sessions to persist at the broker."
        found.append(Finding("warning", where, "the broker keeps no session", hint))
    if answer.get("MaximumQoS", 2) == 0:
        found.append(Finding("warning", where, "the broker knows QoS 0 only", "Losses will not be noticed."))
    for name, words in LACKING.items():
        if answer.get(name, 1) == 0:
            found.append(
                Finding("warning", where, f"the broker has no {words}", "Topics that need them fail.")
            )
    return found


QUEUE = "mosquitto: max_queued_messages 0 (or as many as come in an absence), persistence true, autosave_interval 60."
LACKING = {
    "WildcardSubscriptionAvailable": "wildcards",
    "SharedSubscriptionAvailable": "shared subscriptions ($share)",
}


async def _subscribed(visit: _Visit) -> Sequence[Finding]:
    asked = visit.routes.filters
    plain = [(_without_group(name), qos) for name, qos in asked.items()]
    codes = await visit.connection.subscribe(plain)
    return [
        _granted(f"{visit.source}: {name}", qos, code)
        for (name, qos), code in zip(asked.items(), codes, strict=True)
    ]


def _without_group(name: str) -> str:
    return name.split("/", 2)[2] if name.startswith("$share/") else name


def _granted(where: str, qos: int, code: int) -> Finding:
    if code >= FAREWELL:
        remedy = errors.REASONS[code][1] if code in errors.REASONS else ""
        return Finding("error", where, f"the broker refuses this topic (0x{code:02x})", remedy)
    if code < qos:
        return Finding("warning", where, f"the broker grants QoS {code} only", "Losses will not be noticed.")
    return Finding("ok", where, f"subscribed with QoS {code}")


async def _heard(visit: _Visit) -> Sequence[Finding]:
    """What every read entry hears within `LISTEN` seconds."""
    templates = [_templates(visit, reading) for reading in visit.readings]
    messages: list[Message] = []
    waiting = set(range(len(templates)))
    try:
        async with patient(LISTEN):
            while waiting and (fresh := await _fresh(visit.connection)):
                messages += fresh[: ENOUGH - len(messages)]
                topics = {message.topic.decode("utf-8", "replace") for message in fresh}
                waiting = {n for n in waiting if not _wants(templates[n], topics)}
    except TimeoutError:
        pass
    if (lost := visit.connection.lost) is not None:  # then silence says nothing about a topic
        return [*_read(visit, messages), Finding("error", visit.source, str(lost), lost.remedy)]
    silent = [_silent(visit, visit.readings[n]) for n in sorted(waiting)]
    return [*_read(visit, messages), *silent]


def _templates(visit: _Visit, reading: Reading) -> Sequence[Template]:
    """Of the topics that this entry asks for: one for each listed signal where the topic names the signal."""
    return [parse_template(name) for name in _filters(visit, reading)]


def _filters(visit: _Visit, reading: Reading) -> Sequence[str]:
    names: Sequence[str] = reading.read.filters(reading.machine, visit.settings.sparkplug_namespace)
    return names


def _wants(templates: Sequence[Template], topics: Iterable[str]) -> bool:
    return any(template.match(topic) is not None for topic in topics for template in templates)


async def _fresh(connection: Connection) -> list[Message]:
    """What has come, also before the connection was lost; nothing when it is lost and all was taken."""
    connection.received = connection.woken.set
    while not connection.wire.messages and connection.lost is None:
        connection.woken.clear()
        await connection.woken.wait()
    messages = list(connection.wire.messages)
    connection.wire.messages.clear()
    return messages


def _silent(visit: _Visit, reading: Reading) -> Finding:
    """Named by what is subscribed, as the broker knows it."""
    first, *others = [reading.read.sparkplug] if reading.read.sparkplug else _filters(visit, reading)
    return Finding(
        "warning",
        f"{visit.source}: {first}{f' and {len(others)} more' if others else ''}",
        f"nothing received yet (listened {LISTEN:g} s)",
        "It may just be slow. Brokers also grant topics that their access list then keeps silent.",
    )


def _read(visit: _Visit, messages: Sequence[Message]) -> Sequence[Finding]:
    """How the messages decode: one finding per topic, with the first problem if there is one."""
    found: dict[bytes, Finding] = {}
    values: Counter[bytes] = Counter()
    apart: list[int] = []
    for message in messages:
        sheet = Sheet()
        visit.routes.read(message, message.at, sheet)
        values[message.topic] += sheet.decoded
        apart += [] if message.retain else _apart(sheet, message.at)
        where = f"{visit.source}: {message.topic.decode('utf-8', 'backslashreplace')}"
        known = found.get(message.topic)
        if known is not None and known.level == "warning":
            continue
        if sheet.refused:
            found[message.topic] = Finding("warning", where, sheet.refused[0].reason)
        else:
            said = f"{values[message.topic]} values read" + (" (retained)" if message.retain else "")
            found[message.topic] = Finding("ok", where, said)
    return [*found.values(), *_clock(visit.source, apart)]


def _apart(sheet: Sheet, received: int) -> list[int]:
    """By how much the payloads' own times are behind their receipt, ns."""
    batches = sheet.batches(received, 0)
    return [
        received - int(at)
        for batch in batches
        for at, flags in zip(batch.at, batch.flags, strict=True)
        if not int(flags) & Flag.TIME_SUBSTITUTED
    ]


def _clock(source: str, apart: Sequence[int]) -> list[Finding]:
    """A clock ahead is wrong for certain; one behind may be a slow way here, unless everything is."""
    if not apart:
        return []
    least, first = min(apart) / 1e9, max(-min(apart), 0) / 1e9
    where, hint = (
        f"{source}: clock",
        "Set the sender's clock by a time server (NTP); values keep the times of their payloads.",
    )
    if first > SKEW:
        return [
            Finding(
                "warning",
                where,
                f"times in payloads are up to {first:,.1f} s ahead of this computer's clock",
                hint,
            )
        ]
    if least > SLOW:
        return [
            Finding(
                "warning",
                where,
                f"times in payloads are at least {least:,.1f} s behind this computer's clock",
                hint,
            )
        ]
    return [Finding("ok", where, "times in payloads fit this computer's clock")]
