"""Finds silent loss: a server that answers 204 and stores nothing looks like one that works, unless somebody reads back.

Every request carries one line of ours, a running number in measurement `collector_canary`, and what was confirmed is
looked for in the database half a minute later, and once more before it counts as lost. In every request, and not once a
second, because then no request can be swallowed unseen. Reading is a courtesy: it has a thread and a connection of its
own, and whatever goes wrong with it is said and harms no write. Where it is not permitted or not possible, no canary is
written: the first reading comes before the first line.

InfluxQL: `SELECT n FROM …` over /query (v1, and v2 servers that know it). Flux: annotated CSV over /api/v2/query.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from adapters.clock import Clock
from adapters.errors import AdapterError
from adapters.influxdb.names import CANARY, clean, key
from adapters.influxdb.settings import InfluxDbSink
from adapters.influxdb.wire import Reply, Wire, message_of
from pipelines.stage import Gap

log = logging.getLogger("collector")

EVERY = 30.0
"""Seconds between two readings. A loss is known after SETTLED + 2 * EVERY at the latest."""
SETTLED = 10.0
"""Seconds that a server has to show what it confirmed (InfluxDB 3 and Cloud do it later than they answer)."""
MOST = 2000
"""Confirmed lines that wait to be read back: beyond them, requests go without."""
LOSSES = 100
"""Findings that wait to be stored; there is one a reading at most, and somebody takes them every second."""
_LONGEST = 4 * 1024 * 1024


Read = Callable[[int, int], set[int]]
"""Times (ns) of the lines between two times, both inclusive. Raises Unreadable and AdapterError."""


class Unreadable(Exception):
    """The server does not let us read back what we write."""


class Canary:
    """The lines of one sink. The writer's thread sends, the event loop judges: what they share are single dict operations."""

    def __init__(self, settings: InfluxDbSink, name: str, clock: Clock, facts: dict[str, str]) -> None:
        self._settings, self._name, self._clock, self.facts = settings, name, clock, facts
        self.on = False
        self._number = self._lost = self._confirmed = 0
        self._waiting: dict[int, float] = {}  # confirmed: time of the line (ns) -> when (s, monotonic)
        self._missed: set[int] = set()
        self.losses: deque[Gap] = deque(maxlen=LOSSES)

    def line(self) -> tuple[int, bytes]:
        """Its time and the line, with its end; (0, b"") for none."""
        if not self.on or len(self._waiting) >= MOST:
            return 0, b""
        self._number += 1
        at = self._clock.now()
        return at, f"{CANARY},sink={key(self._name)} n={self._number}i {at}\n".encode()

    def confirmed(self, at: int) -> None:
        """The server said that this line is stored."""
        if at:
            self._confirmed += 1
            self._waiting[at] = self._clock.monotonic()

    def switch(self, *, on: bool, why: str) -> None:
        """Said once, until it changes."""
        words = why if on else f"off: {why}"
        if self.facts.get("canary") != words:
            log.info("%s: canary %s", self._name, words)
        self.on, self.facts["canary"] = on, words
        if not on:
            self._waiting.clear()

    def settled(self) -> list[int]:
        """The lines that should be readable by now, oldest first."""
        before = self._clock.monotonic() - SETTLED
        return sorted(at for at, when in dict(self._waiting).items() if when <= before)

    def judge(self, wanted: list[int], found: set[int]) -> None:
        """What is missing for the second time is lost."""
        missing = set(wanted) - found
        lost = sorted(missing & self._missed)
        self._missed = missing - set(lost)
        for at in {*wanted} - self._missed:
            self._waiting.pop(at, None)
        if lost:
            self._cry(lost)

    def _cry(self, lost: list[int]) -> None:
        self._lost += len(lost)
        first = datetime.fromtimestamp(lost[0] / 1e9, UTC).isoformat(timespec="seconds")
        self.facts["lost"] = (
            f"InfluxDB at {self._settings.url} confirmed writes that are not in it: {self._lost} of {self._confirmed}, "
            f"the latest at {first}. Values are lost behind its answer: look at the log and the disk of the server, and "
            f"at what stands between it and the collector; values that are still held can be written again: collector rewind {self._name}"
        )
        log.error("%s: %s", self._name, self.facts["lost"])
        words = (
            f"{self._name}: {len(lost)} writes that InfluxDB at {self._settings.url} confirmed are not in it"
        )
        self.losses.append(Gap(lost[0], lost[-1], "sink_lost", words))


def reader(wire: Wire, settings: InfluxDbSink, name: str) -> Read:
    """How this server is asked."""
    if settings.api == "v1":
        return lambda begin, end: _influxql(wire, settings.database, name, begin, end)

    def either(begin: int, end: int) -> set[int]:
        try:
            return _flux(wire, settings, name, begin, end)
        except Unreadable:
            return _influxql(wire, settings.bucket, name, begin, end)

    return either


def begin(canary: Canary, read: Read, now: int) -> None:
    """Canaries are only let out where they can be counted when they come back."""
    try:
        read(now, now + 1)
    except (Unreadable, AdapterError) as error:
        canary.switch(on=False, why=f"what was written cannot be read back here ({error})")
    else:
        canary.switch(on=True, why="every write is read back")


def look(canary: Canary, read: Read, now: int) -> None:
    """One reading. A server that cannot be reached proves nothing: the next reading asks again."""
    if not canary.on:
        begin(canary, read, now)
        return
    wanted = canary.settled()
    try:
        found = read(wanted[0], wanted[-1]) if wanted else set()
    except Unreadable as error:
        canary.switch(on=False, why=f"what was written can no longer be read back ({error})")
    except AdapterError as error:
        log.debug("the canary could not be read: %s", error)
    else:
        canary.judge(wanted, found)


def _influxql(wire: Wire, database: str, name: str, begin: int, end: int) -> set[int]:
    quoted = clean(name).replace("'", "\\'")
    text = f"SELECT n FROM {CANARY} WHERE sink = '{quoted}' AND time >= {begin} AND time <= {end}"  # noqa: S608 - InfluxQL; the name is quoted
    query = {"db": database, "epoch": "ns", "q": text}
    return _times(_answer(wire.request("GET", "/query", query, longest=_LONGEST)))


def _answer(reply: Reply) -> Any:
    try:
        answer = json.loads(reply.text)
    except ValueError:
        answer = None
    if reply.status != 200 or not isinstance(answer, dict):
        raise Unreadable(f"{reply.status} {message_of(reply)}".strip())
    return answer


def _times(answer: Any) -> set[int]:
    """Only an answer in the form of InfluxDB counts: others answer every question with the same list of databases."""
    try:
        (result,) = answer["results"]
        said = str(result.get("error", ""))
        if said and "database not found" not in said:
            raise Unreadable(said)
        (series,) = result.get("series") or [{"columns": ["time", "n"], "values": []}]
        if series["columns"] != ["time", "n"]:
            raise Unreadable("the answer to a query is not InfluxDB's")
        return {int(row[0]) for row in series["values"]}
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise Unreadable("the answer to a query is not InfluxDB's") from error


def _flux(wire: Wire, settings: InfluxDbSink, name: str, begin: int, end: int) -> set[int]:
    """Times as integers: a column of times would come as text with nine decimals."""
    tag = json.dumps(clean(name), ensure_ascii=False)
    text = (
        f"from(bucket: {json.dumps(settings.bucket, ensure_ascii=False)})"
        f" |> range(start: time(v: {begin}), stop: time(v: {end + 1}))"
        f' |> filter(fn: (r) => r._measurement == "{CANARY}" and r._field == "n" and r.sink == {tag})'
        " |> map(fn: (r) => ({at: int(v: r._time)}))"
    )
    reply = wire.request(
        "POST", "/api/v2/query", {"org": settings.org}, text.encode(),
        content_type="application/vnd.flux", longest=_LONGEST,
    )  # fmt: skip
    if reply.status != 200:
        raise Unreadable(f"{reply.status} {message_of(reply)}".strip())
    return _column(reply.text)


def _column(text: str) -> set[int]:
    """The column `at` of all tables of an answer; an error within it is a table with a column `error`."""
    found: set[int] = set()
    place = -1
    for row in csv.reader(io.StringIO(text)):
        if "error" in row[:2]:
            raise Unreadable("the query failed")
        if "at" in row:
            place = row.index("at")
        elif 0 <= place < len(row) and row[place].lstrip("-").isdigit():
            found.add(int(row[place]))
    if text.strip() and place < 0:
        raise Unreadable("the answer to a query is not InfluxDB's")
    return found
