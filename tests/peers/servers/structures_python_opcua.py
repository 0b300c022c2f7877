"""python-opcua with structures of before OPC UA 1.04, described by a type dictionary; see tests/peers/test_opcua_secured.py.

Without security: the library's needs a package that the peers' environment has not.
"""

import json
import logging
import sys

from opcua import Server, ua  # type: ignore[import-not-found]  # lives in .peers only
from opcua.common.type_dictionary_buider import (  # type: ignore[import-not-found]
    DataTypeDictionaryBuilder,
    get_ua_class,
)

URI = "urn:test:secured"


def fill(server: Server) -> None:
    index = server.register_namespace(URI)
    machine = server.nodes.objects.add_object(ua.NodeId("Press", index), f"{index}:Press")
    machine.add_variable(ua.NodeId("load", index), f"{index}:Load", 12.5)
    builder = DataTypeDictionaryBuilder(server, index, "urn:test:dictionary", "Dictionary")
    at, tool = builder.create_data_type("At"), builder.create_data_type("Tool")
    for name in ("X", "Y"):
        at.add_field(name, ua.VariantType.Double)
    tool.add_field("Number", ua.VariantType.UInt32)
    tool.add_field("At", at)
    tool.add_field("Wear", ua.VariantType.Float, is_array=True)
    tool.add_field("Note", ua.VariantType.String)
    builder.set_dict_byte_string()
    server.load_type_definitions()
    value = get_ua_class("Tool")()
    value.Number, value.Wear, value.Note = 7, [0.5, 0.25], "mill"
    value.At.X, value.At.Y = 1.5, -2.0
    empty = ua.Variant(None, ua.VariantType.Null)
    node = machine.add_variable(ua.NodeId("tool", index), f"{index}:Tool", empty, datatype=tool.data_type)
    node.set_value(value)


def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    server = Server()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{sys.argv[1]}/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    fill(server)
    server.start()
    try:
        sys.stdout.write(json.dumps({"event": "ready"}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        server.stop()


main()
