"""The life of a connection to InfluxDB: one thread, one ordered writer.

A thread because the client library blocks; one, because values of a point must arrive in order. The library's batching
writer is not used: it gives up after 180 s and reports a loss to a log only.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from typing import Any, Self, TypeVar

from adapters.base import Bench, Finding, Write
from adapters.errors import AdapterError, Misconfigured
from adapters.influxdb.answers import Missing, Verdict, judge
from adapters.influxdb.canary import EVERY, Canary, begin, look, reader
from adapters.influxdb.encode import Encoder
from adapters.influxdb.memory import Memory
from adapters.influxdb.names import CANARY, Names
from adapters.influxdb.rights import excess
from adapters.influxdb.settings import InfluxDbSink
from adapters.influxdb.verdicts import Outcome, conflict_of
from adapters.influxdb.wire import Reply, Wire, message_of
from adapters.influxdb.writer import Writer
from pipelines.batch import Batch
from pipelines.stage import Gap

log = logging.getLogger("collector")

T = TypeVar("T")

_COMMENT = b"# shopfloor-collector asks whether it may write\n"
"""A line that says nothing: authentication, place and permission are checked, and no point is made."""


class InfluxDb:
    """The sink. Keeps between sessions what was learned of names and of the server.

    facts: words for people about what was found; a loss behind the server's back is said here, for as long as the
    collector runs, and in the log.
    """

    def __init__(self, settings: InfluxDbSink, bench: Bench) -> None:
        self.name = settings.name or "influxdb"
        self._settings = settings
        self._clock = bench.clock
        self._names = Names(bench.registry, settings.measurement, unsigned=settings.api == "v2")
        self._memory = Memory(settings.batch_lines)
        self.facts: dict[str, str] = {}
        self._canary = Canary(settings, self.name, bench.clock, self.facts)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Write]:
        async with Thread() as thread:
            wire = await thread.open(self._settings)
            await thread.run(lambda: self._greet(wire))
            await thread.run(lambda: self._warn(wire))
            if self._settings.canary:
                read = reader(wire, self._settings, self.name)
                await thread.run(lambda: begin(self._canary, read, self._clock.now()))
            writer = self._writer(wire)

            async def write(batches: Sequence[Batch]) -> None:
                await thread.run(lambda: writer.write(batches))

            async with beside(self._watch) if self._settings.canary else nullcontext():
                yield write

    def take_losses(self) -> Sequence[Gap]:
        """See adapters.base.Losing; the canary's thread adds to them meanwhile."""
        found = self._canary.losses
        return [found.popleft() for _ in range(len(found))]

    def _warn(self, wire: Wire) -> None:
        """Rights that nobody needs, in the facts, and in the log when it is new."""
        words, remedy = excess(wire, self._settings)
        if words and words not in self.facts.get("rights", ""):
            log.warning("%s: %s. %s", self.name, words, remedy)
        if words:
            self.facts["rights"] = f"{words}. {remedy}"
        else:
            self.facts.pop("rights", None)

    async def _watch(self) -> None:
        """Reads the canary back for ever, over a connection of its own."""
        async with Thread() as thread:
            read = reader(await thread.open(self._settings), self._settings, self.name)
            while True:
                await self._clock.sleep(EVERY)
                await thread.run(lambda: look(self._canary, read, self._clock.now()))

    def _writer(self, wire: Wire) -> Writer:
        return Writer(
            lambda body: self._post(wire, body),
            Encoder(self._names, unsigned=self._settings.api == "v2"),
            self._memory,
            self._clock.now,
            first=lambda body: self._first(wire, body),
            twins=self._settings.on_conflict == "twin",
        )

    def _first(self, wire: Wire, body: bytes) -> Outcome:
        """A request that nobody has refused yet takes a canary with it; one that is sorted out must not be blamed for it."""
        at, line = self._canary.line()
        outcome = self._post(wire, line + body)
        if outcome.verdict is Verdict.STORED:
            self._canary.confirmed(at)
        elif (conflict := conflict_of(outcome.message)) is not None and conflict.measurement == CANARY:
            self._canary.switch(on=False, why=outcome.message)
            return self._post(wire, body)
        return outcome

    def _post(self, wire: Wire, body: bytes) -> Outcome:
        reply = wire.write(body)
        try:
            return Outcome(self._judge(reply), message_of(reply))
        except Missing:
            if not self._settings.create:
                raise
        self._make(wire)
        reply = wire.write(body)
        return Outcome(self._judge(reply), message_of(reply))

    def _judge(self, reply: Reply) -> Verdict:
        return judge(reply, self._settings.url, self._clock.now())

    def _greet(self, wire: Wire) -> str:
        """The server's version, '' if it keeps that to itself. Servers without /ping are not worse for it."""
        reply = wire.request("GET", "/ping")
        if reply.status not in (200, 204, 404):
            self._judge(reply)
        return next(
            (value for key, value in reply.headers.items() if key.lower() == "x-influxdb-version"), ""
        )

    def _make(self, wire: Wire) -> None:
        if self._settings.api == "v1":
            quoted = self._settings.database.replace("\\", "\\\\").replace('"', '\\"')
            self._must(wire.request("POST", "/query", {"q": f'CREATE DATABASE "{quoted}"'}))
            return
        answer = self._must(wire.request("GET", "/api/v2/orgs", {"org": self._settings.org}))
        organisations = json.loads(answer.text).get("orgs") or [{}]
        bucket = {
            "orgID": organisations[0].get("id", ""),
            "name": self._settings.bucket,
            "retentionRules": [],
        }
        self._must(wire.request("POST", "/api/v2/buckets", body=json.dumps(bucket).encode()))

    def _must(self, reply: Reply) -> Reply:
        if not 200 <= reply.status < 300 or message_of(reply):
            self._judge(reply)
            raise Misconfigured(
                f"InfluxDB at {self._settings.url} did not make the {self._place}: {reply.status} {message_of(reply)}",
                "Make it by hand, or give credentials that may.",
            )
        return reply

    @property
    def _place(self) -> str:
        settings = self._settings
        return f"bucket {settings.bucket}" if settings.api == "v2" else f"database {settings.database}"

    async def probe(self) -> Sequence[Finding]:
        """Reachable, which version, may write there. Nothing is written: the test is a comment line."""
        try:
            async with Thread() as thread:
                wire = await thread.open(self._settings)
                return await thread.run(lambda: self._look(wire))
        except AdapterError as error:
            return [Finding("error", self.name, str(error), error.remedy)]

    def _look(self, wire: Wire) -> list[Finding]:
        version = self._greet(wire) or "of an unknown version"
        found = [Finding("ok", self.name, f"InfluxDB {version} answers at {self._settings.url}")]
        try:
            self._judge(wire.write(_COMMENT))
        except Missing as error:
            if not self._settings.create:
                raise
            return [*found, Finding("warning", self.name, f"{error}", f"The {self._place} will be made.")]
        found.append(Finding("ok", self.name, f"the {self._place} is there and takes values"))
        words, remedy = excess(wire, self._settings)
        return [*found, Finding("warning", self.name, words, remedy)] if words else found


@asynccontextmanager
async def beside(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Something at work for as long as the body is. An error of the body leaves as it is, not as a group of one."""
    try:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(work())
            try:
                yield
            finally:
                task.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


class Thread:
    """One thread and the wire that it uses; leaving ends both, in the middle of a request if need be."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._wire: Wire | None = None

    async def __aenter__(self) -> Self:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="influxdb")
        return self

    async def open(self, settings: InfluxDbSink) -> Wire:
        self._wire = await self.run(lambda: Wire(settings))
        return self._wire

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def __aexit__(self, *_: object) -> None:
        if self._wire is not None:
            self._wire.abort()
        if self._executor is not None:
            await asyncio.to_thread(self._executor.shutdown)
        if self._wire is not None:
            self._wire.close()
