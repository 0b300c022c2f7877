"""The program under test: reads the signals of `config` once, and says which of them have no good value."""

from typing import Any

from asyncua import Client, ua

from config import NAMESPACE, SIGNALS


async def read_machine(url: str) -> dict[str, Any]:
    """Values by name; None for a signal without a good value. OSError when nobody answers."""
    async with Client(url, timeout=60, watchdog_intervall=60) as client:
        index = await client.get_namespace_index(NAMESPACE)
        read = {}
        for name, identifier in SIGNALS.items():
            node = client.get_node(ua.NodeId(identifier, index))
            data = await node.read_data_value(raise_on_bad_status=False)
            read[name] = data.Value.Value if data.StatusCode.is_good() else None
        return read
