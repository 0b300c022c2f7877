"""Stored values from an InfluxDB, read by its oldest interface, `/query`: plain HTTP and JSON, answered in pieces.

InfluxDB 1.x has it; 2 and 3 answer it too where a mapping for the database exists. Quality points are left out: a bad value is
never stored as a value there.
"""

import os
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any, Final, NamedTuple

import msgspec

from simulators.errors import SimulatorError
from simulators.recording.rows import Row
from simulators.verify.gaps import GapRows, Gaps

QUALITY: Final = "quality"
GAP: Final = "collector_gap"
CHUNK: Final = 10_000
TIMEOUT_S: Final = 60.0


class Database(NamedTuple):
    """Where to ask; `login` is the value of the Authorization header, or empty."""

    url: str
    name: str
    login: str

    def query(self, text: str) -> Iterator[Mapping[str, Any]]:
        """The series of an answer, piece by piece; times in ns."""
        fields = {"db": self.name, "q": text, "epoch": "ns", "chunked": "true", "chunk_size": str(CHUNK)}
        request = urllib.request.Request(f"{self.url}/query?{urllib.parse.urlencode(fields)}")  # noqa: S310 - http(s) only, see parse
        if self.login:
            request.add_header("Authorization", self.login)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - as above
                for piece in answer:
                    yield from _series(msgspec.json.decode(piece, type=dict[str, Any]))
        except (OSError, HTTPException, ValueError) as error:
            raise SimulatorError(
                f"{self.url}: database '{self.name}' does not answer ({error}). Is the address right?"
            ) from error


def _series(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for result in (answer, *answer.get("results", ())):
        if "error" in result:
            raise SimulatorError(f"the database refuses: {result['error']}")
    for result in answer.get("results", ()):
        yield from result.get("series", ())


def parse(place: str) -> Database:
    """`http(s)://[user:password@]host:port?db=name` (`influxdb://` is http). A token comes from INFLUX_TOKEN."""
    try:
        parts = urllib.parse.urlsplit(place)
        port = parts.port or 8086
    except ValueError as error:
        raise SimulatorError(
            f"'{place}' is no database ({error}): write http://localhost:8086?db=name"
        ) from None
    named = urllib.parse.parse_qs(parts.query)
    name = (named.get("db") or named.get("database") or named.get("bucket") or [parts.path.strip("/")])[0]
    scheme = {"influxdb": "http", "influxdbs": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.hostname or not name:
        raise SimulatorError(f"'{place}' is no database: write http://localhost:8086?db=name")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = "" if parts.path.strip("/") == name else parts.path.rstrip("/")
    return Database(f"{scheme}://{host}:{port}{path}", name, _login(parts))


def _login(parts: urllib.parse.SplitResult) -> str:
    if parts.username:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        return "Basic " + b64encode(pair.encode()).decode()
    token = os.environ.get("INFLUX_TOKEN", "")
    return f"Token {token}" if token else ""


def influx_rows(place: str, gaps: Gaps) -> Iterator[Row]:
    """A row per field and time; the points of `collector_gap` go to `gaps`."""
    database = parse(place)
    for measurement in _measurements(database):
        quoted = measurement.replace("\\", "\\\\").replace('"', '\\"')
        series = database.query(f'SELECT * FROM "{quoted}" GROUP BY *')  # noqa: S608 - quoted, and only read
        if measurement == GAP:
            _gaps(series, gaps)
        elif measurement != QUALITY:
            for each in series:
                yield from _rows(each)


def _measurements(database: Database) -> list[str]:
    return [str(row[0]) for series in database.query("SHOW MEASUREMENTS") for row in series["values"]]


def _rows(series: Mapping[str, Any]) -> Iterator[Row]:
    """A series without the tag `machine` is no machine's: somebody else's, or the collector's own test point."""
    machine = series.get("tags", {}).get("machine")
    if not machine:
        return
    columns = series["columns"][1:]
    for t, *cells in series["values"]:
        for name, cell in zip(columns, cells, strict=True):
            if cell is not None:
                yield Row(t, machine, name, cell, "good")


def _gaps(found: Iterator[Mapping[str, Any]], gaps: Gaps) -> None:
    own = GapRows()
    for series in found:
        source = str(series.get("tags", {}).get("source", ""))
        for t, *cells in series["values"]:
            for name, cell in zip(series["columns"][1:], cells, strict=True):
                if cell is not None:
                    own.field(source, t, name, cell)
    gaps.extend(own.gaps())
