"""How a broker is reached, the same for a source and a sink: address, encryption, who we are.

Encrypted and verified is the default (`mqtts://`); plain text is chosen by name (`mqtt://`). Imports no paho.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator

from adapters.settings import Duration, Secret, Strict, on_this_computer

PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
WEB_PATH = "/mqtt"


class BrokerAccess(Strict):
    """The part of a source's or sink's settings that is about the connection."""

    url: str = Field(
        description="mqtts://host[:8883] (encrypted, verified) or mqtt://host[:1883] (plain text); over WebSocket "
        "wss://host[:443][/path] or ws://host[:80][/path] (path left out: /mqtt)",
        examples=["mqtts://10.0.0.5", "mqtt://localhost:1883", "wss://broker.example/mqtt"],
    )
    version: Literal["auto", "3.1.1", "5"] = Field(
        "auto", description="auto: 5, and 3.1.1 if the broker refuses 5"
    )
    username: str = ""
    password: Secret | None = None
    ca: Path | None = Field(
        None,
        description="PEM file of the authority that signed the broker's certificate; left out: the system's",
    )
    certificate: Path | None = Field(None, description="PEM file of this client's certificate")
    private_key: Path | None = Field(None, description="PEM file of this client's private key, unencrypted")
    keep_alive: Duration = Field(20.0, ge=1, le=3600)

    @field_validator("url")
    @classmethod
    def _is_broker(cls, url: str) -> str:
        _check_url(url)
        return url

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.password is not None and not self.username:
            raise ValueError("a password needs its username")
        if self.password is not None and not self.tls and not self.loopback:
            raise ValueError(
                "a password would cross the network in plain text: use mqtts:// or wss:// (or remove the password)"
            )
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together: give both or neither")
        if not self.tls and (self.ca or self.certificate):
            raise ValueError(
                "ca and certificate are for mqtts:// and wss://; with mqtt:// and ws:// nothing is encrypted"
            )
        return self

    @property
    def tls(self) -> bool:
        return self.url.startswith(("mqtts:", "wss:"))

    @property
    def path(self) -> str | None:
        """Of the WebSocket; None without one."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("ws", "wss"):
            return None
        query = f"?{parts.query}" if parts.query else ""
        return (parts.path if len(parts.path) > 1 else WEB_PATH) + query

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or PORTS[parts.scheme]

    @property
    def loopback(self) -> bool:
        return on_this_computer(self.host)

    @property
    def place(self) -> str:
        """The same for two urls that lead to one broker, as far as their words show it: ports differ with the way in."""
        return "localhost" if self.loopback else self.host.lower().rstrip(".")

    @property
    def doubts(self) -> list[str]:
        """What `check` warns of."""
        said = []
        if not self.tls and not self.loopback:
            said.append(
                f"{self.url} is plain text: anyone on the network can read and forge it; use mqtts://"
            )
        if self.password is not None and not self.tls:
            said.append(f"the password for {self.url} is sent in plain text (only to this computer)")
        return [*said, *self._missing()]

    def _missing(self) -> Iterator[str]:
        """No error: the file may still be on its way to this computer, and every connection looks for it anew."""
        files = {"ca": self.ca, "certificate": self.certificate, "private_key": self.private_key}
        for key, file in files.items():
            if file is not None and not os.path.isfile(file):  # noqa: PTH113 (Path.is_file raises where a folder is closed)
                yield f"{key}: there is no file {file}, or this user may not see it: without it nothing connects to {self.url}"


class Broker(Protocol):
    """What a connection must know of the settings behind it."""

    @property
    def url(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def username(self) -> str: ...
    @property
    def password(self) -> Secret | None: ...
    @property
    def ca(self) -> Path | None: ...
    @property
    def certificate(self) -> Path | None: ...
    @property
    def private_key(self) -> Path | None: ...
    @property
    def keep_alive(self) -> float: ...
    @property
    def session_expiry(self) -> float: ...
    @property
    def receive_maximum(self) -> int: ...
    @property
    def max_packet(self) -> int: ...
    @property
    def tls(self) -> bool: ...
    @property
    def path(self) -> str | None: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in PORTS:
        raise ValueError(
            "the url begins with mqtts:// (encrypted) or mqtt:// (plain), such as mqtts://10.0.0.5; "
            "over WebSocket with wss:// or ws://"
        )
    if parts.username is not None or parts.password is not None:
        raise ValueError("write username and password as keys of their own, not in the url")
    if not parts.hostname:
        raise ValueError("the url names no host; write it as mqtts://10.0.0.5 or mqtts://broker.example:8883")
    _check_path(parts)
    if parts.port == 0:
        raise ValueError("port 0 is not a port")


def _check_path(parts: SplitResult) -> None:
    if parts.scheme in ("ws", "wss"):
        if (
            parts.fragment
            or not (parts.path + parts.query).isascii()
            or set(parts.path + parts.query) & set(" \\")
        ):
            raise ValueError("a WebSocket url ends with a plain path, such as wss://broker.example/mqtt")
        return
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("the url ends after host and port; topics belong to the machines' read entries")
