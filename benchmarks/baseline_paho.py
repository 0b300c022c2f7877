"""The straightforward script, MQTT: paho's network thread, json, a `Point` per value, the batching writer.

paho acknowledges when the callback returns: what is in the writer's memory then is lost with the process.
"""

from __future__ import annotations

import signal
import sys
from typing import Any
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.baseline_points import writing


def main(broker: str, influx: str, topics: str, values: str) -> None:
    """Subscribe and write until told to stop."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with writing(influx, int(values)) as write:

        def on_connect(client: paho.Client, *_: Any) -> None:
            client.subscribe(topics, qos=1)

        def on_message(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
            write(message.topic, bytes(message.payload))

        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_connect, client.on_message = on_connect, on_message
        client.connect(urlsplit(broker).hostname or "", urlsplit(broker).port or 1883)
        client.loop_start()
        signal.sigwait({signal.SIGTERM})
        client.loop_stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
