"""A scripted OPC UA server: an own codec (codec/), what a server remembers (machine.py), and small behaviours (scripts.py)."""

from __future__ import annotations

from tests.opcua.scripted import codes
from tests.opcua.scripted.codec.secure import Identity
from tests.opcua.scripted.machine import Policy
from tests.opcua.scripted.scripts import (
    Answer,
    Cut,
    CutAfter,
    CutAt,
    Ignore,
    Later,
    Mangle,
    Mute,
    Refuse,
    Reply,
    Script,
    Slow,
    Swallow,
    Swap,
    Twice,
    Unsupported,
)
from tests.opcua.scripted.server import Connection, ScriptedServer
from tests.opcua.scripted.space import DOUBLE, INT32, STRING, URI, Variable
from tests.opcua.scripted.subscription import Notice, Subscription

__all__ = [
    "DOUBLE", "INT32", "STRING", "URI", "Answer", "Connection", "Cut", "CutAfter", "CutAt", "Identity", "Ignore", "Later",
    "Mangle", "Mute", "Notice", "Policy", "Refuse", "Reply", "Script", "ScriptedServer", "Slow", "Subscription", "Swallow",
    "Swap", "Twice", "Unsupported", "Variable", "codes",
]  # fmt: skip
