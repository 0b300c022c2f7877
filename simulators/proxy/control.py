"""The proxy by command line: a ready line, then commands as JSON lines on stdin, an answer for each on stdout.

`{"up": {"latency": 0.2}}`, `{"down": …}`, `{"both": …}`, `{"cut": "both"}`, `{"reset": "client"}`, `{"door": "closed"}`,
`{"clear": true}`, `{"report": true}`, `{"stop": true}`; several keys in one object are done in the order written.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from simulators import stdin
from simulators.errors import SimulatorError
from simulators.proxy.server import Proxy, open_proxy
from simulators.runner import say, stop_signals


async def run(to: tuple[str, int], host: str, port: int, first: bytes) -> int:
    stop = asyncio.Event()
    with stop_signals(stop):
        async with open_proxy(to, host=host, port=port) as proxy:
            await obey(proxy, decoded(first), stop)
            say({"event": "ready", "address": proxy.address, "port": proxy.port, "to": f"{to[0]}:{to[1]}"})

            async def each(line: bytes) -> None:
                if line:
                    say(await answer(proxy, line, stop))

            stdin.listen(each, lambda: None)  # a proxy without commands is a proxy too
            await stop.wait()
            report = proxy.report()
        say({"event": "stopped", **report})
    return 0


async def answer(proxy: Proxy, line: bytes, stop: asyncio.Event) -> Mapping[str, Any]:
    """Obey one line; what is said about it."""
    try:
        await obey(proxy, decoded(line), stop)
    except SimulatorError as error:
        return {"event": "refused", "reason": str(error)}
    return {"event": "done", "door": proxy.door, **proxy.report()}


def decoded(line: bytes) -> Mapping[str, Any]:
    try:
        command = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise SimulatorError(f'not JSON: {error}. Write for example {{"up": {{"latency": 0.2}}}}.') from None
    if not isinstance(command, dict):
        raise SimulatorError('a command is a JSON object, for example {"cut": "both"}.')
    return command


async def obey(proxy: Proxy, command: Mapping[str, Any], stop: asyncio.Event) -> None:
    """Do what the command says, in its order; raises SimulatorError at what it does not understand."""
    for name, wish in command.items():
        await _one(proxy, name, wish, stop)


async def _one(proxy: Proxy, name: str, wish: Any, stop: asyncio.Event) -> None:
    if name in ("up", "down", "both"):
        if not isinstance(wish, dict):
            raise SimulatorError(f'{name} needs faults, for example {{"{name}": {{"latency": 0.2}}}}.')
        {"up": proxy.up.set, "down": proxy.down.set, "both": proxy.both}[name](**wish)
    elif name in ("cut", "reset"):
        (proxy.cut if name == "cut" else proxy.reset)("both" if wish is True else wish)
    elif name == "door":
        await proxy.set_door(wish)
    elif name == "clear":
        proxy.clear()
    elif name == "stop":
        stop.set()
    elif name != "report":
        raise SimulatorError(f"'{name}' is unknown: up, down, both, cut, reset, door, clear, report, stop.")
