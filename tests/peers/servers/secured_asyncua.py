"""asyncua as a machine with security, a user and structures; see tests/peers/test_opcua_secured.py."""

import asyncio
import json
import logging
import sys
from typing import Any

from asyncua import ua
from asyncua.common.structures104 import new_enum, new_struct, new_struct_field
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.server import Server

NodeId: Any = ua.NodeId
URI = "urn:test:secured"


class Users:
    def get_user(
        self, iserver: Any, username: str | None = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        known = username == "reader" and password in ("right", b"right")
        return User(role=UserRole.User, name=username) if known else None


async def fill(server: Server) -> None:
    index = await server.register_namespace(URI)
    machine = await server.nodes.objects.add_object(NodeId("Press", index), f"{index}:Press")
    await machine.add_variable(NodeId("load", index), f"{index}:Load", 12.5)
    await new_enum(server, index, "Mode", ["Manual", "Automatic"])
    at, _ = await new_struct(
        server,
        index,
        "At",
        [new_struct_field("X", ua.VariantType.Double), new_struct_field("Y", ua.VariantType.Double)],
    )
    enums = await server.load_data_type_definitions()
    fields = [
        new_struct_field("Number", ua.VariantType.UInt32),
        new_struct_field("At", at),
        new_struct_field("Wear", ua.VariantType.Float, array=True),
        new_struct_field("Note", ua.VariantType.String, optional=True),
    ]
    tool, _ = await new_struct(server, index, "Tool", fields)
    known = {**enums, **await server.load_data_type_definitions()}
    value = known["Tool"](Number=7, At=known["At"](X=1.5, Y=-2.0), Wear=[0.5, 0.25], Note="mill")
    await machine.add_variable(NodeId("tool", index), f"{index}:Tool", value, datatype=tool.nodeid)


async def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    port, certificate, key, application = sys.argv[1:5]
    server = Server(user_manager=Users())  # type: ignore[arg-type]
    await server.init()
    await server.set_application_uri(application)
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    await server.load_certificate(certificate)
    await server.load_private_key(key)
    server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt])
    server.set_identity_tokens([ua.UserNameIdentityToken])
    await fill(server)
    async with server:
        sys.stdout.write(json.dumps({"event": "ready"}) + "\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
