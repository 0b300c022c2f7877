"""One run of the OPC UA load, from its ready line to its report."""

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from simulators.clock import wall_ns
from simulators.errors import SimulatorError
from simulators.load.channel import Channel
from simulators.load.opcua import LARGEST, Load, LoadServer
from simulators.load.pace import paced, settled
from simulators.load.series import NAMESPACE, name_of
from simulators.runner import say, stop_signals

LOOK = 0.1  # s between two looks at the keep-alive


@dataclass(frozen=True, slots=True)
class Run:
    """seconds: of data. settle: s between the complete subscription and the first tick. drain: s for the last acknowledgements."""

    port: int = 0
    seconds: float = 15.0
    settle: float = 0.5
    drain: float = 10.0
    stay: bool = False


async def run(load: Load, how: Run) -> int:
    """Serve, wait for a complete subscription, emit, report. `stay`: go on serving until told to stop."""
    if not 1 <= load.per_notification <= LARGEST:
        raise SimulatorError(
            f"{load.per_notification} values per notification: between 1 and {LARGEST} fit into a chunk."
        )
    stop = asyncio.Event()
    with stop_signals(stop):
        server, listener = await open_load(load, how.port)
        async with listener:
            keeping = asyncio.TaskGroup()
            async with keeping:
                alive = keeping.create_task(_keep_alive(server))
                await _work(server, how, stop)
                alive.cancel()
    return 0


async def open_load(load: Load, port: int) -> tuple[LoadServer, asyncio.Server]:
    """The server, listening on 127.0.0.1 and not emitting yet. `port` 0 takes a free one."""
    loop = asyncio.get_running_loop()
    made: list[LoadServer] = []
    try:
        listener = await loop.create_server(lambda: Channel(made[0]), "127.0.0.1", port)
    except OSError as error:
        raise SimulatorError(
            f"cannot listen on 127.0.0.1:{port} ({error}). Choose another --port."
        ) from error
    url = f"opc.tcp://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    made.append(LoadServer(load, url))
    return made[0], listener


async def _work(server: LoadServer, how: Run, stop: asyncio.Event) -> None:
    say(ready_line(server))
    await settled(server.complete.is_set, server.moved, float("inf"), stop)
    if not stop.is_set():
        await emit(server, how.seconds, how.settle, stop)
    await settled(lambda: server.settled, server.moved, how.drain, stop)
    say({"event": "finished", **server.report()})
    if how.stay:
        await stop.wait()


def ready_line(server: LoadServer) -> dict[str, object]:
    """What a client needs: node ids are `nsu=NAMESPACE;s=v00000` and so on."""
    return {
        "event": "ready",
        "url": server.url,
        "port": urlsplit(server.url).port,
        "namespace": NAMESPACE,
        "first": name_of(0),
        "last": name_of(server.load.variables - 1),
        "variables": server.load.variables,
        "hz": server.load.hz,
        "types": server.load.types,
    }


async def emit(server: LoadServer, seconds: float, settle: float, stop: asyncio.Event) -> None:
    """All ticks of `seconds`, by the clock; says when the first one is, and how many there will be."""
    ticks = max(1, round(seconds * server.load.hz))
    begin, start_ns = time.monotonic() + settle, wall_ns() + round(settle * 1000) * 1_000_000
    server.start(start_ns)
    say({"event": "emitting", "start_ns": start_ns, "ticks": ticks, "settle": settle})
    await paced(ticks, 1 / server.load.hz, begin, stop, lambda _: server.tick())


async def _keep_alive(server: LoadServer) -> None:
    while True:
        await asyncio.sleep(LOOK)
        server.look()
