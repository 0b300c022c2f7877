"""python-opcua as a machine with security, a user, and structures of before OPC UA 1.04, described by a type dictionary.

See tests/peers/test_opcua_secured.py.
"""

import json
import logging
import sys
from typing import Any

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


def is_reader(_session: Any, user: str | None, password: object) -> bool:
    """The library asks for every user name token, and for no other."""
    return user == "reader" and password == "right"


def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    port, certificate, key, application = sys.argv[1:5]
    server = Server()
    server.set_application_uri(application)
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    server.load_certificate(certificate)
    server.load_private_key(key)
    server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
    server.set_security_IDs(["Username"])
    server.user_manager.set_user_manager(is_reader)
    fill(server)
    server.start()
    try:
        sys.stdout.write(json.dumps({"event": "ready"}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        server.stop()


main()
