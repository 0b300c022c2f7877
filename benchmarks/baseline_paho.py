"""The straightforward script, MQTT: paho's network thread, json, a `Point` per message, the batching writer.

Written as the libraries' own examples show it, with the writer's batch size raised from 1,000 to 5,000 as InfluxDB
recommends. paho acknowledges when the callback returns: what is in the writer's memory then is lost with the process.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any
from urllib.parse import urlsplit

from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.point import Point
from influxdb_client.client.write_api import WriteOptions
from influxdb_client.domain.write_precision import WritePrecision
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

NewPoint: Any = Point  # the library has no types


def main(broker: str, influx: str, topics: str) -> None:
    """Subscribe and write until told to stop."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    options = WriteOptions(batch_size=5000, flush_interval=1000)
    with (
        InfluxDBClient(url=influx, token="", org="bench") as database,
        database.write_api(write_options=options) as writer,
    ):

        def on_connect(client: paho.Client, *_: Any) -> None:
            client.subscribe(topics, qos=1)

        def on_message(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
            content = json.loads(message.payload)
            point = (
                NewPoint("machine")
                .tag("machine", "m1")
                .field(message.topic.rpartition("/")[2], content["value"])
                .time(content["ts"], WritePrecision.MS)
            )
            writer.write(bucket="bench", org="bench", record=point, write_precision=WritePrecision.MS)

        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_connect, client.on_message = on_connect, on_message
        client.connect(urlsplit(broker).hostname or "", urlsplit(broker).port or 1883)
        client.loop_start()
        signal.sigwait({signal.SIGTERM})
        client.loop_stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
