"""The MQTT source: connect, subscribe, and hand over to the session; or look around once, for `check --online`."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

from adapters.base import Bench, Delivery, Finding
from adapters.errors import AdapterError, Misconfigured
from adapters.mqtt.adopted import Adopted
from adapters.mqtt.channel import Message
from adapters.mqtt.checkpoint import Checkpoint, load
from adapters.mqtt.connection import FAREWELL, Connection
from adapters.mqtt.doctor import examine
from adapters.mqtt.dropped import TOPIC as DROPPED
from adapters.mqtt.opening import connect
from adapters.mqtt.probe import look_around
from adapters.mqtt.rivals import Rivals
from adapters.mqtt.routes import Routes
from adapters.mqtt.session import Memory, MqttSession
from adapters.mqtt.settings import MqttSource
from adapters.mqtt.sheet import Sheet
from adapters.mqtt.silence import Silence
from adapters.mqtt.sparkplug.host import Policy
from adapters.mqtt.sparkplug.primary import Primary
from adapters.mqtt.standing import Standing
from adapters.settings import Reading
from pipelines.stage import Gap

RING_311 = 1000  # receipt times kept, at least: some brokers of 3.1.1 have more in flight than we let wait (aedes: all there is)

log = logging.getLogger(__name__)


class MqttBroker:
    """A Source (adapters/base.py)."""

    def __init__(self, name: str, settings: MqttSource, readings: Sequence[Reading], bench: Bench) -> None:
        self.name = name
        self.machines = tuple(dict.fromkeys(reading.machine for reading in readings))
        self.client_id = settings.client_id or f"shopfloor-{name}"
        self._settings, self._readings, self._bench = settings, readings, bench
        self._adopted = Adopted(settings.adopt_limit)  # here, so that a new connection is no new allowance
        if (
            bench.scratch
        ):  # a guest under a name of its own: the collector's session and what waits in it stay untouched
            self.client_id = f"{self.client_id}-look-{secrets.token_hex(4)}"
        self._primary_host = "" if bench.scratch else settings.primary_host
        if bench.scratch or self._primary_host:
            self._settings = settings.model_copy(update={"session_expiry": 0.0})
        clock, registry = bench.clock, bench.registry
        rivals, silence = Rivals(self.client_id, clock), Silence(clock)
        self._memory = Memory(clock, lambda: registry.version, rivals, silence, Standing())
        self._statistics = settings.broker_statistics
        self._policy = Policy(
            settings.sparkplug_namespace,
            settings.reorder,
            settings.rebirth and not bench.scratch,
            {},
            settings.aliases == "strict",
        )

    @asynccontextmanager
    async def session(self, resume: bytes | None) -> AsyncIterator[MqttSession]:
        routes = Routes(self._readings, self._bench, self._adopted, self._memory.silence.heard, self._policy)
        primary = Primary(self._primary_host, self._bench.clock.now) if self._primary_host else None
        connection = await self._connect(primary)
        try:
            maximum = self._settings.receive_maximum
            size = maximum if connection.version == "5" else max(RING_311, maximum)
            checkpoint = load(resume, self.client_id, size)
            answer = connection.answer
            continued = self._memory.standing.continued(present=answer is not None and answer.session_present)
            checkpoint.connected(present=continued)
            if routes.host is not None:
                routes.host.restore(checkpoint.sparkplug, self._bench.clock.monotonic(), continued=continued)
            session = MqttSession(connection, routes, checkpoint, self._memory)
            session.lacking = None if continued else _gap(checkpoint, self._bench.clock.now())
            session.stated(**_facts(connection, self.client_id))
            await self._subscribe(connection, routes, checkpoint, session)
            if primary is not None:
                routes.watch(primary.topic, primary.heard)
                await primary.announce(connection)
            with self._watching(connection):
                yield session
        finally:
            try:
                if primary is not None:
                    await primary.retire()
            finally:
                connection.close()

    async def _connect(self, primary: Primary | None) -> Connection:
        rivals = self._memory.rivals
        try:
            found = await connect(
                self._settings,
                self.client_id,
                self._bench.clock.now,
                visiting=self._bench.scratch or primary is not None,
                will=None if primary is None else primary.will,
            )
        except AdapterError:
            rivals.unreachable()
            raise
        rivals.accepted()
        return found

    @contextmanager
    def _watching(self, connection: Connection) -> Iterator[None]:
        """The broker's own count of dropped messages. A broker that answers this question by hanging up is not asked again."""
        answer = connection.ask([(DROPPED, 0)], retained=True) if self._statistics else None
        try:
            yield
        finally:
            if answer is not None and answer.done() and answer.exception() is connection.lost is not None:
                self._statistics = False
                log.info("%s: the broker does not tell how many messages it drops", self.name)

    async def _subscribe(
        self, connection: Connection, routes: Routes, checkpoint: Checkpoint, session: MqttSession
    ) -> None:
        """Ask for every filter, and look at every answer; give up filters of an earlier configuration."""
        asked = routes.filters
        connection.unsubscribe([name for name in checkpoint.filters if name not in asked])
        granted = dict(zip(asked, await connection.subscribe(list(asked.items())), strict=True))
        checkpoint.filters = list(asked)
        refused = [name for name, code in granted.items() if code >= FAREWELL]
        if asked and len(refused) == len(asked):
            raise _all_refused(self._settings.url, granted)
        session.stated(subscriptions=str(len(asked) - len(refused)), **_warnings(asked, granted))
        session.redelivers = session.redelivers and all(granted[name] > 0 for name in asked)
        self._memory.silence.granted(name for name in asked if name not in refused)
        for name in refused:
            log.warning("%s: the broker refuses topic %s (0x%02x)", self.name, name, granted[name])

    def examine(self) -> AsyncIterator[Finding]:
        return examine(self.name, self._settings, self.client_id, self._readings, self._bench.clock)

    @property
    def lingers(self) -> str:
        return self.client_id

    async def farewell(self) -> None:
        """A clean start without expiry makes the broker discard the session, its subscriptions and what it queued
        (MQTT 5.0, 3.1.2.4 and 3.1.2.11.2; MQTT 3.1.1, 3.1.2.4).
        """
        ending = self._settings.model_copy(update={"session_expiry": 0.0})
        connection = await connect(ending, self.client_id, self._bench.clock.now, visiting=True)
        connection.close()
        log.info("%s: its session %s at the broker is ended", self.name, self.client_id)

    def reread(self, where: str, raw: bytes, at: int) -> Delivery:
        """A message that was refused once, by the present read entries. where: its topic."""
        routes = Routes(self._readings, self._bench, self._adopted, policy=self._policy)
        sheet = Sheet()
        topic = where.encode("utf-8", "replace")
        routes.read(Message(topic, raw, 0, 1, False, False, at, len(raw)), at, sheet)
        return Delivery(sheet.batches(at, self._bench.registry.version), sheet.decoded, sheet.refused)

    async def probe(self) -> Sequence[Finding]:
        return await look_around(self.name, self._settings, self.client_id, self._readings, self._bench.clock)


def _gap(checkpoint: Checkpoint, now: int) -> Gap | None:
    """The broker should have kept a session for us and has none: what came meanwhile is lost."""
    if checkpoint.fresh:
        return None
    begins = min(checkpoint.last, now) if checkpoint.last else now
    detail = (
        "the broker has not kept the session (restarted without persistence, expired, or another client_id)"
    )
    return Gap(begins, now, "session_not_present", detail)


def _facts(connection: Connection, client_id: str) -> dict[str, str]:
    settings, answer = connection.settings, connection.answer
    facts = {
        "broker": settings.url,
        "protocol": f"MQTT {connection.version}",
        "security": connection.security,
        "client_id": client_id,
        "session": "continued" if answer and answer.session_present else "new",
    }
    if settings.version == "auto" and connection.version != "5":
        facts["protocol_note"] = (
            "the broker refuses MQTT 5 or does not answer it: 3.1.1 is used, without Receive Maximum"
        )
    kept = answer.properties.get("SessionExpiryInterval") if answer else None
    if kept is not None and kept < settings.session_expiry:
        facts["session_expiry"] = f"the broker keeps the session only {kept} s"
    return facts


def _warnings(asked: Mapping[str, int], granted: Mapping[str, int]) -> dict[str, str]:
    refused = [name for name, code in granted.items() if code >= FAREWELL]
    lower = [name for name, code in granted.items() if code < FAREWELL and code < asked[name]]
    return {
        "refused_topics": ", ".join(refused),
        "lower_qos": f"QoS 0 granted, losses are not noticed: {', '.join(lower)}" if lower else "",
    }


def _all_refused(url: str, granted: Mapping[str, int]) -> Misconfigured:
    names = ", ".join(f"{name} (0x{code:02x})" for name, code in granted.items())
    return Misconfigured(
        f"{url} refuses every topic of this source: {names}",
        "Check the topics, and the broker's access list for this user.",
    )
