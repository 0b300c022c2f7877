"""Which face plays which fault of the communication, as the README shows it.

Said here without the libraries of the faces; a test compares it with the faces themselves, and the README with this.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from simulators.faces.opcua_identity import CHANGES
from simulators.faults.catalogue import COMMUNICATION

ON_THE_WAY: Final = ("refuse", "cut", "half_open", "latency")
"""Played by a proxy before the endpoint, which files have not."""

OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "OPC UA": ("restart", "reindex", "nodes_removed", *CHANGES),
    "MQTT": ("restart", "duplicate", "reorder"),
    "Sparkplug B": ("restart", "duplicate", "reorder", "missing_birth", "sequence_gap"),
    "files": (),
}


def plays(face: str, fault: str) -> bool:
    """Whether this face, started with `--faults`, plays this fault."""
    return fault in OWN[face] or fault == "clock_jump" or (face != "files" and fault in ON_THE_WAY)


def table() -> Iterator[str]:
    """The lines of the table in the README."""
    yield f"| Fault | {' | '.join(OWN)} | What happens |"
    yield f"|---|{'---|' * len(OWN)}---|"
    for fault, words in COMMUNICATION.items():
        marks = " | ".join("✓" if plays(face, fault) else "" for face in OWN)
        yield f"| `{fault}` | {marks} | {words} |".replace("|  |", "| |").replace("|  |", "| |")
