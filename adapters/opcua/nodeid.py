"""NodeIds as people write them, parsed without the protocol library: settings must load at once.

The string form is that of OPC 10000-6, 5.3.1.10: `nsu=<uri>;s=…` names the namespace by its URI, which survives a
restart of the server; `ns=<index>;s=…` names it by a number that the server may give to another namespace next time.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

EXAMPLES = "nsu=urn:vendor:cnc;s=Spindle.Load, ns=2;s=Spindle.Load, ns=2;i=1001 or i=2258"
_FORM = re.compile(r"(?:ns=(?P<ns>\d+);|nsu=(?P<nsu>[^;]+);)?(?P<form>[isgb])=(?P<id>.+)", re.DOTALL)
_HINTS = {
    "i": "i= takes a whole number from 0 to 4294967295, such as i=2258",
    "g": "g= takes a GUID, such as g=09087e75-8e5e-499b-954f-f2a9603db28a",
    "b": "b= takes base64, such as b=M/RbKBsRVkePCePcx24oRA==",
}

Identifier = int | str | uuid.UUID | bytes


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A node by namespace (a URI, or an index when `uri` is None) and identifier; `form` is i, s, g or b."""

    uri: str | None
    index: int
    form: str
    identifier: Identifier

    @property
    def identifier_text(self) -> str:
        """The identifier as the string form has it, such as `s=Spindle.Load`."""
        if isinstance(self.identifier, bytes):
            return f"b={base64.b64encode(self.identifier).decode()}"
        return f"{self.form}={self.identifier}"


def parse_node_id(text: str) -> NodeAddress:
    """The address that `text` names. Raises ValueError with an example when it is not a NodeId."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a NodeId: write {EXAMPLES}")
    index = int(match["ns"] or 0)
    if index > 0xFFFF:
        raise ValueError(f"{text!r}: a namespace index is at most 65535")
    uri = None if match["nsu"] is None else unquote(match["nsu"])
    return NodeAddress(uri, index, match["form"], _identifier(text, match["form"], match["id"]))


def _identifier(text: str, form: str, written: str) -> Identifier:
    try:
        return _parsed(form, written)
    except (ValueError, binascii.Error):
        raise ValueError(f"{text!r} is not a NodeId: {_HINTS[form]}") from None


def _parsed(form: str, written: str) -> Identifier:
    if form == "s":
        return written
    if form == "g":
        return uuid.UUID(written)
    if form == "b":
        return base64.b64decode(written, validate=True)
    if not re.fullmatch(r"\d{1,10}", written) or int(written) > 0xFFFFFFFF:
        raise ValueError(written)
    return int(written)


def sound(text: object) -> str:
    """A text as the library decoded it: bytes that are no UTF-8, lone surrogates there, become U+FFFD as everywhere else."""
    return str(text or "").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def canonical(form: int, identifier: object, index: int, namespaces: Sequence[str]) -> str:
    """A NodeId in the form that survives a restart: by URI, but for namespace 0 and what the server itself cannot name.

    form: NodeIdType (OPC 10000-6, 5.2.2.9): 3 text, 4 Guid, 5 bytes, a number otherwise.
    """
    letter = {3: "s", 4: "g", 5: "b"}.get(form, "i")
    shown = base64.b64encode(identifier).decode() if isinstance(identifier, bytes) else str(identifier)
    if not index:
        return f"{letter}={shown}"
    if index >= len(namespaces):
        return f"ns={index};{letter}={shown}"
    return f"nsu={namespaces[index].replace('%', '%25').replace(';', '%3B')};{letter}={shown}"
