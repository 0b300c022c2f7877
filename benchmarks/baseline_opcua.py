"""The straightforward script, OPC UA: asyncua's subscription handler, a `Point` per value, the batching writer.

Written as the libraries' own examples show it, with the writer's batch size raised from 1,000 to 5,000 as InfluxDB
recommends. It has no buffer on disk, knows no quality and does not survive a restart; it is here for its speed only.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

from asyncua.client.client import Client
from asyncua.common.node import Node
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.point import Point
from influxdb_client.client.write_api import WriteApi, WriteOptions

NewPoint: Any = Point  # the library has no types


class Handler:
    """What asyncua calls for every value."""

    def __init__(self, writer: WriteApi) -> None:
        self.writer = writer

    def datachange_notification(self, node: Node, value: Any, data: Any) -> None:
        point = (
            NewPoint("machine")
            .tag("machine", "m1")
            .field(str(node.nodeid.Identifier), value)
            .time(data.monitored_item.Value.SourceTimestamp)
        )
        self.writer.write(bucket="bench", org="bench", record=point)


async def main(url: str, influx: str, variables: int) -> None:
    """Subscribe to everything and write until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with (
        InfluxDBClient(url=influx, token="", org="bench") as database,
        database.write_api(write_options=WriteOptions(batch_size=5000, flush_interval=1000)) as writer,
    ):
        async with Client(url, timeout=60, watchdog_intervall=60) as client:  # its own: 4 and 1 s
            index = await client.get_namespace_index("urn:shopfloor:load")
            nodes = [client.get_node(f"ns={index};s=v{number:05d}") for number in range(variables)]
            subscription = await client.create_subscription(100, Handler(writer))
            await subscription.subscribe_data_change(nodes, queuesize=100)
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
