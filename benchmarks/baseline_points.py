"""What the scripts beside MQTT share: a `Point` per value into the client library's batching writer, as its examples show it.

The writer's batch size is raised from 1,000 to 5,000 as InfluxDB recommends.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.point import Point
from influxdb_client.client.write_api import WriteOptions
from influxdb_client.domain.write_precision import WritePrecision

from simulators.load.series import name_of, variable_of

NewPoint: Any = Point  # the library has no types


@contextmanager
def writing(influx: str, values: int) -> Iterator[Callable[[str, bytes], None]]:
    """A function that writes what a message says: topic and payload. values: in each message."""
    options = WriteOptions(batch_size=5000, flush_interval=1000)
    with (
        InfluxDBClient(url=influx, token="", org="bench") as database,
        database.write_api(write_options=options) as writer,
    ):

        def write(topic: str, payload: bytes) -> None:
            content = json.loads(payload)
            at = content.pop("ts")
            name = topic.rpartition("/")[2]
            for place, value in enumerate(content.values()):
                signal = name if values == 1 else name_of(variable_of(name) * values + place)
                point = (
                    NewPoint("machine").tag("machine", "m1").field(signal, value).time(at, WritePrecision.MS)
                )
                writer.write(bucket="bench", org="bench", record=point, write_precision=WritePrecision.MS)

        yield write
