"""Texts of a configuration that must have a certain form: addresses, nodes, paths, fingerprints. Each refusal says the form."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from adapters.opcua.nodeid import parse_node_id
from adapters.opcua.paths import expanded, parse_path


def _node_id(text: str) -> str:
    for node, _ in expanded(text):
        parse_node_id(node)
    return text.strip()


def _path(text: str) -> str:
    parse_path(text)
    return text.strip()


def _root(text: str) -> str:
    """A NodeId or a path without patterns, in this order: what parses as the first is the first."""
    try:
        parse_node_id(text)
    except ValueError:
        if parse_path(text).wildcards:
            raise ValueError(f"root {text!r}: * belongs into path:") from None
    return text.strip()


def _url(text: str) -> str:
    parts = urlsplit(text.strip())
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"{text!r}: the port is a number from 1 to 65535") from None
    if parts.scheme != "opc.tcp" or not parts.hostname or port == 0:
        raise ValueError(f"{text!r} is not the address of an OPC UA server: write opc.tcp://10.0.0.14:4840")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "no user or password in the url: write username: and password: (as ${file:…} or ${env:…})"
        )
    return text.strip() if port else text.strip().replace(parts.netloc, f"{parts.netloc}:4840", 1)


def _fingerprint(text: str) -> str:
    digits = re.sub(r"[:\s]", "", text).lower()
    if re.fullmatch(r"[0-9a-f]{64}", digits) is None:
        raise ValueError("a SHA-256 fingerprint has 64 hexadecimal digits, with or without colons")
    return digits


NodeIdText = Annotated[str, AfterValidator(_node_id)]
PathText = Annotated[str, AfterValidator(_path)]
RootText = Annotated[str, AfterValidator(_root)]
OpcTcpUrl = Annotated[str, AfterValidator(_url)]
Fingerprint = Annotated[str, AfterValidator(_fingerprint)]
