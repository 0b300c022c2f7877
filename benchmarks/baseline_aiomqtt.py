"""The straightforward script with an event loop: aiomqtt, json, a `Point` per value, the batching writer.

aiomqtt acknowledges a message before the loop over `messages` gets it: what has not been stored then is lost with the process.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from urllib.parse import urlsplit

import aiomqtt

from benchmarks.baseline_points import writing


async def main(broker: str, influx: str, topics: str, values: str) -> None:
    """Subscribe and write until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    address = urlsplit(broker)
    with writing(influx, int(values)) as write:
        async with (
            aiomqtt.Client(address.hostname or "", address.port or 1883) as client,
            asyncio.TaskGroup() as group,
        ):
            await client.subscribe(topics, qos=1)

            async def read() -> None:
                async for message in client.messages:
                    write(str(message.topic), bytes(message.payload))

            reading = group.create_task(read())
            await stop.wait()
            reading.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
