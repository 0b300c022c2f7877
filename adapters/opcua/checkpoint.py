"""What survives a session: how new the newest value was that is durable, and whose life it was.

Small JSON with a version, because it is read by the next version of this program and now and then by a person. The ids
of session and subscription are kept for taking a living subscription over, which asyncua's peers allow only by transfer.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

VERSION = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """newest: ns, the largest time of a value handed over. received: ns, our clock then. life: names one process."""

    newest: int
    received: int
    life: str
    server: str = ""
    subscription: int = 0
    sequence: int = 0

    def to_bytes(self) -> bytes:
        return json.dumps({"version": VERSION, **asdict(self)}, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, blob: bytes | None) -> Checkpoint | None:
        """What was stored; None when there is nothing, or nothing that this version can read (then there is no gap record)."""
        if blob is None:
            return None
        try:
            stored: Any = json.loads(blob)
        except ValueError:
            return None
        if not isinstance(stored, dict) or stored.pop("version", None) != VERSION:
            return None
        try:
            return cls(**stored)
        except TypeError:
            return None
