"""A machine as an OPC UA server: every change is written with the simulation's time, and is then in the truth.

asyncua notifies a client of every write that changes value or status and samples nothing, so no change is skipped while
its queue has room.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from simulators.faces.base import unlike
from simulators.faces.opcua_identity import CHANGES
from simulators.faces.opcua_server import Served, drained
from simulators.faces.opcua_vivid import Vivid
from simulators.model import Model, Signal, Value
from simulators.truth import Truth

_BEFORE = 1_000_000  # ns


class OpcUaFace:
    """The variables of one machine. Built by `open_opcua`."""

    def __init__(self, served: Served, model: Model, truth: Truth) -> None:
        self._served = served
        self._model = model
        self._truth = truth
        self._vivid = served.vivid or Vivid(model, truth)
        self._removed: set[str] = set()
        self._on: list[str] = []

    @property
    def disturbances(self) -> frozenset[str]:
        """Of certificates only where it shows one."""
        shown = CHANGES if self._served.registrar is not None else ()
        return frozenset({"restart", "reindex", "nodes_removed", *shown})

    async def begin(self, at_ns: int, values: Mapping[str, Value]) -> None:
        """Nothing: the variables have had their first values since the server opened."""

    async def emit(self, at_ns: int, changed: Mapping[str, Value], values: Mapping[str, Value]) -> None:
        """Write what changed; a subscription gets it at its next publishing interval. Without a server nobody is told."""
        told = {name: value for name, value in changed.items() if name not in self._removed}
        if self._served.server is None:
            return
        await self._served.follow(changed, at_ns)
        await self._vivid.look(at_ns)
        if not told:
            return
        signals = [signal for signal in self._model.signals if signal.name in told]
        await self._served.write(signals, at_ns)
        self._hand_over(at_ns, told)

    async def disturb(self, fault: str, *, on: bool, at_ns: int) -> None:
        """A server that comes back has all its values anew, with the time of its return: just before those of this step, because
        two values of one time would be two facts, of which nobody who comes later can have seen the first. What else is on
        stays so: a server that is away stays away, and one that comes back has the index and certificate that it had.
        """
        at_ns += self._model.clock_error_ns - _BEFORE
        self._on = [*(each for each in self._on if each != fault), *([fault] if on else [])]
        if fault in CHANGES:
            await self._served.certify(next((each for each in reversed(self._on) if each in CHANGES), ""))
        if fault == "nodes_removed":
            await (self._remove() if on else self._return(at_ns))
        elif "restart" in self._on:
            await self._served.pause()
        else:
            await self._reopen(at_ns)

    async def _reopen(self, at_ns: int) -> None:
        await self._served.pause()
        await self._served.open(at_ns, fillers=1 if "reindex" in self._on else 0)
        self._removed.clear()
        if "nodes_removed" in self._on:
            await self._remove()
        self._tell_all(at_ns, [one for one in self._model.signals if one.name not in self._removed])

    async def drain(self, seconds: float) -> None:
        """Wait until every subscription has published all and its client has acknowledged all."""
        if self._served.server is not None:
            await drained(self._served.server, seconds)

    async def _remove(self) -> None:
        gone = self._model.signals[::3]
        if self._served.server is not None:
            await self._served.remove(gone)
            self._removed = {signal.name for signal in gone}

    async def _return(self, at_ns: int) -> None:
        back = [signal for signal in self._model.signals if signal.name in self._removed]
        self._removed.clear()
        if self._served.server is not None and back:
            await self._served.add(back, at_ns)
            self._tell_all(at_ns, back)

    def _tell_all(self, at_ns: int, signals: Sequence[Signal]) -> None:
        self._hand_over(at_ns, {signal.name: self._model.values[signal.name] for signal in signals})

    def _hand_over(self, at_ns: int, values: Mapping[str, Value]) -> None:
        self._truth.values(self._model.machine, at_ns, values, unlike(self._model, values))
        self._vivid.remember(values, at_ns)


@asynccontextmanager
async def open_opcua(served: Served, truth: Truth, at_ns: int) -> AsyncIterator[OpcUaFace]:
    """Serve the machine; `served.url` is then the endpoint's URL."""
    served.vivid = Vivid(served.model, truth)
    await served.open(at_ns)
    truth.values(served.model.machine, at_ns, served.model.values)
    served.vivid.remember(served.model.values, at_ns)
    try:
        yield OpcUaFace(served, served.model, truth)
    finally:
        await served.close()
