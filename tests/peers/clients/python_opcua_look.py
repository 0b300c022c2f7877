"""python-opcua as a client, in its own environment: everything below Objects, browsed and read, a JSON line per server."""

import json
import sys
from typing import Any

from opcua import Client, ua  # type: ignore[import-not-found]  # lives in .peers only

HIERARCHICAL, SERVER = 33, 2253


def main(url: str) -> None:
    client = Client(url, timeout=300)
    client.connect()
    try:
        uris = client.get_namespace_array()
        rows: list[dict[str, Any]] = []
        level, known = [(client.get_objects_node(), "")], {ua.NodeId(85)}
        while level:
            found = []
            for node, path in level:
                for each in node.get_references(
                    HIERARCHICAL, ua.BrowseDirection.Forward, ua.NodeClass.Unspecified, True
                ):
                    if each.NodeId in known or each.NodeId == ua.NodeId(SERVER):
                        continue
                    known.add(each.NodeId)
                    below = f"{path}/{each.BrowseName.Name}".strip("/")
                    found.append((client.get_node(each.NodeId), below))
                    kind = each.TypeDefinition
                    rows.append({"path": below, "uri": uris[each.BrowseName.NamespaceIndex], "class": each.NodeClass.name,
                                 "type": [uris[kind.NamespaceIndex], kind.Identifier], "value": value(client, each)})  # fmt: skip
            level = found
        sys.stdout.write(json.dumps({"rows": rows}) + "\n")
    finally:
        client.disconnect()


def value(client: Any, each: Any) -> Any:
    if each.NodeClass != ua.NodeClass.Variable:
        return None
    data = client.get_node(each.NodeId).get_attribute(ua.AttributeIds.Value)
    said = data.Value.Value
    return said if isinstance(said, bool | int | float | str) else str(said)


if __name__ == "__main__":
    for each_url in sys.argv[1:]:
        main(each_url)
