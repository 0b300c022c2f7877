"""NodeIds of a server as a configuration writes them: by the namespace's URI, because its number may change with a restart."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any, Final

from adapters.opcua.nodeid import parse_node_id

_RANGE: Final = re.compile(r"\{\d+\.\.\d+\}")  # a configuration takes {1..5} for five nodes
_FORMS: Final = {0: "i", 1: "i", 2: "i", 3: "s", 4: "g", 5: "b"}  # OPC 10000-6, 5.2.2.9


def id_text(node: Any, namespaces: Sequence[str]) -> str:
    """nsu=<uri>;s=…, or i=… in namespace 0; empty if no configuration can name it (no URI, one of two with the same URI, blanks at the end)."""
    index = int(node.NamespaceIndex)
    identifier = node.Identifier
    written = base64.b64encode(identifier).decode() if isinstance(identifier, bytes) else str(identifier)
    local = f"{_FORMS.get(int(node.NodeIdType), 's')}={written}"
    if index == 0:
        return local
    if index >= len(namespaces) or not namespaces[index] or namespaces.index(namespaces[index]) != index:
        return ""
    uri = namespaces[index].replace("%", "%25").replace(";", "%3B")
    text = f"nsu={uri};{local}"
    return text if _comes_back(text, namespaces[index], identifier) else ""


def _comes_back(text: str, uri: str, identifier: Any) -> bool:
    try:
        address = parse_node_id(text)
    except ValueError:
        return False
    if _RANGE.search(text):
        return False
    return address.uri == uri and address.identifier == identifier and text.isprintable()
