"""What one may ask of a server's events: an entry beside `signals`, one monitored item each. Only words, as settings.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pydantic import Field, field_validator

from adapters.opcua.paths import parse_path
from adapters.opcua.spellings import NodeIdText, RootText
from adapters.settings import Strict

SERVER: Final = "i=2253"  # NodeIds.csv: Server, the notifier of everything that a server tells
TAKEN: Final = frozenset(
    {"active", "acked", "severity", "message", "event_id", "type", "previous", "quality"}
)
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


class OpcUaEvents(Strict):
    """Events and alarms of one notifier: signals `<name>.<source>.<condition>.active`, `.acked`, `.severity`, `.message`, …"""

    name: str = Field(
        "alarm", min_length=1, max_length=40, description="Where the names of these signals begin"
    )
    notifier: RootText = Field(
        SERVER,
        alias="from",
        description="The node or path whose events these are; left out: the Server object, which is all of them",
    )
    severity: int = Field(
        0,
        ge=0,
        le=1000,
        description="Least severity that counts; a condition that once had it is followed to its end",
    )
    only: NodeIdText | None = Field(
        None, description="An event type; only its events, and those of its subtypes"
    )
    fields: Mapping[str, str] = Field(
        default_factory=dict,
        description="Further fields by the name of their signal, such as limit: LimitState/CurrentState",
    )
    most: int = Field(
        200,
        ge=1,
        le=5000,
        description="Conditions with signals of their own, at most; further ones share `<name>.others`",
    )

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable() or name != name.strip() or "." in name:
            raise ValueError(f"{name!r} cannot be the beginning of a signal's name: no dots, no line breaks")
        return name

    @field_validator("fields")
    @classmethod
    def _each_is_a_path(cls, fields: Mapping[str, str]) -> Mapping[str, str]:
        for name, path in fields.items():
            if name in TAKEN or _FIELD.fullmatch(name) is None:
                raise ValueError(
                    f"field {name!r}: another name, of letters, digits and _ ({', '.join(sorted(TAKEN))} are taken)"
                )
            if parse_path(path).wildcards:
                raise ValueError(f"field {name!r}: {path!r} has a wildcard, and a field is one")
        return fields
