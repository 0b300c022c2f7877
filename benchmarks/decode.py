"""`decode`: every payload decoder of MQTT by itself, without network, journal and database."""

from __future__ import annotations

import gzip
import json
import resource
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.row import Row, Wish

AT_MS = 1_700_000_000_000
VALUES = 50
NAMES = [f"v{number:05d}" for number in range(VALUES)]
FLAT: dict[str, Any] = {"ts": AT_MS, **{name: 100_000.5 + n for n, name in enumerate(NAMES)}}
RECORDS = {"r": [{"n": name, "v": 100_000.5 + n, "t": AT_MS + n} for n, name in enumerate(NAMES)]}
JUDGED = {"r": [{**record, "q": 192, "u": "kW"} for record in RECORDS["r"]]}
LOCAL = {"r": [{**record, "t": "14/11/2023 23:13:20.5"} for record in RECORDS["r"]]}
SAMPLED = {"t0": AT_MS, "dt": 10, "x": [100_000.5 + n for n in range(VALUES)]}
BY_NAME = {"each": "r", "name": "n", "value": "v", "time": "t"}
STATUS = {"quality": {"value": "q", "good": [192]}, "unit_from": "u"}
ZONED = {"time_format": "%d/%m/%Y %H:%M:%S.%f", "time_zone": "Europe/Brussels"}


class Case(NamedTuple):
    """payload: as in the configuration. message: VALUES values. signals: by path; none: everything is taken."""

    name: str
    payload: Mapping[str, Any]
    message: bytes
    signals: tuple[Mapping[str, str], ...] = ()


def decode(wish: Wish) -> Iterator[Row]:
    """A row for each decoder; the time is parted among them."""
    cases = tuple(_cases())
    for case in cases:
        yield _measured(case, wish.seconds / len(cases))


def _measured(case: Case, seconds: float) -> Row:
    read = _decoder(case)
    messages = right = 0
    begin, clock = time.process_time(), time.monotonic()
    while time.monotonic() - clock < seconds:
        for _ in range(20):
            right += len(read(case.message).rows)
        messages += 20
    used, lasted = time.process_time() - begin, time.monotonic() - clock
    emitted = messages * VALUES
    return Row(
        name=f"decode {case.name}",
        values_per_s=round(right / lasted, 1),
        cpu_us_per_value=round(used / max(1, right) * 1e6, 3),
        rss_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        lost=emitted - right,
        baseline=False,
        emitted=emitted,
    )


def _decoder(case: Case) -> Callable[[bytes], Any]:
    from adapters.mqtt.payloads.chosen import Reader
    from adapters.mqtt.settings import MqttRead

    wanted = {"source": "b", "topic": "t", "payload": case.payload, "adopt": not case.signals}
    read = MqttRead.model_validate({**wanted, "signals": list(case.signals)})
    return Reader(read).decoder(read.signals)


def _cases() -> Iterator[Case]:
    import cbor2
    import msgspec

    paths = tuple({"name": name, "value": name} for name in NAMES)
    flat = json.dumps(FLAT).encode()
    yield Case("json", {"type": "json", "time": "ts"}, flat, paths)
    yield Case(
        "json, gzip", {"type": "json", "time": "ts", "compression": "gzip"}, gzip.compress(flat), paths
    )
    yield Case("json, adopt", {"type": "json", "time": "ts"}, flat)
    for name, document, more in (
        ("records", RECORDS, {}),
        ("records, quality, unit", JUDGED, STATUS),
        ("records, local times", LOCAL, ZONED),
    ):
        yield Case(f"json, {name}", {"type": "json", **BY_NAME, **more}, json.dumps(document).encode())
    sampled = {"type": "json", "samples": {"start": "t0", "interval": "dt"}}
    yield Case("json, samples", sampled, json.dumps(SAMPLED).encode(), ({"name": "x", "value": "x"},))
    for name, pack in (("msgpack", msgspec.msgpack.encode), ("cbor", cbor2.dumps)):
        yield Case(name, {"type": name, "time": "ts"}, pack(FLAT), paths)
        yield Case(f"{name}, records", {"type": name, **BY_NAME}, pack(RECORDS))
    cells = [str(value) for value in FLAT.values()]
    yield Case("csv", {"type": "csv", "time": "ts"}, f"{','.join(FLAT)}\n{','.join(cells)}\n".encode())
    fields = ",".join(f"{name}=100000.5" for name in NAMES)
    yield Case("line", {"type": "line"}, f"load,host=a {fields} {AT_MS * 10**6}".encode())
    layout = [{"name": name, "at": 8 + 8 * n, "as": "float64"} for n, name in enumerate(NAMES)]
    stamped = [{"name": "ts", "at": 0, "as": "uint64"}, *layout]
    packed = struct.pack(f">Q{VALUES}d", AT_MS, *[1.5] * VALUES)
    yield Case("binary", {"type": "binary", "time": "ts", "fields": stamped}, packed)
    shdr = "|".join(f"{name}|100000.5" for name in NAMES)
    yield Case("shdr", {"type": "shdr", "numbers": ["v*"]}, f"2023-11-14T22:13:20Z|{shdr}".encode())
