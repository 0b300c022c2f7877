"""python-opcua as a client that signs in: folder, url, user, password, then pairs of mode and policy; a JSON line for each."""

import json
import sys
from typing import Any

from opcua import Client  # type: ignore[import-not-found]  # lives in .peers only


def enter(folder: str, url: str, login: tuple[str, str], mode: str, policy: str) -> dict[str, Any]:
    client = Client(url, timeout=300)
    client.set_security_string(f"{policy},{mode},{folder}/c.der,{folder}/c.pem")
    client.set_user(login[0])
    client.set_password(login[1])
    try:
        client.connect()
        try:
            return {"state": client.get_node("ns=0;i=2259").get_value()}
        finally:
            client.disconnect()
    except Exception as error:  # noqa: BLE001 - whatever it says
        return {"error": f"{type(error).__name__} {error}"}


def main(folder: str, url: str, user: str, password: str, *ways: str) -> None:
    for mode, policy in zip(ways[::2], ways[1::2], strict=True):
        print(json.dumps(enter(folder, url, (user, password), mode, policy)), flush=True)  # noqa: T201


main(*sys.argv[1:])
