"""What one may ask of an OPC UA server. Only words: parsing touches neither network nor disk nor the protocol library.

The strong choice is the default and the weak one has to be written by name (`security: none`). A missing fingerprint is
no error of the file, because `collector check --online` is how one learns it; the session refuses to go on without it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from adapters.base import Bench, Source
from adapters.opcua.events_settings import OpcUaEvents
from adapters.opcua.nodeid import parse_node_id
from adapters.opcua.paths import (
    BrowsePath,
    check_rule,
    expanded,
    holes,
    id_ranges,
    named,
    parse_path,
    treated_names,
    unusable,
)
from adapters.opcua.poll_settings import LookedAt, Mode, in_mode
from adapters.opcua.spellings import Fingerprint, NodeIdText, OpcTcpUrl, PathText, RootText
from adapters.settings import Duration, Reading, ReadSettings, Secret, SourceSettings, on_this_computer

_QUEUE_MOST = 10_000


class OpcUaSignal(LookedAt):
    """One node of the server, or all that a pattern finds."""

    node: NodeIdText | None = Field(
        None,
        description="NodeId, best with the namespace's URI: nsu=urn:vendor:cnc;s=Spindle.Load; {1..5} in it stands for five",
    )
    path: PathText | None = Field(
        None,
        description="Browse names from `root`, such as Machines/CNC1/Monitoring/SpindleLoad; * and ** find many",
    )
    root: RootText | None = Field(
        None, description="Where `path` begins, a NodeId or a path; left out: the read entry's, else Objects"
    )
    max_found: int = Field(
        1000, ge=1, le=100_000, description="Signals that a path with * or ** may find, at most"
    )
    queue: int | None = Field(
        None, ge=1, le=_QUEUE_MOST, description="Values the server keeps for us; left out: enough for `hold`"
    )

    array: Literal["waveform", "elements", "refuse"] = Field(
        "waveform",
        description="elements: a signal `name[0]`, `name[r,c]` for each; for arrays of any type, and matrices",
    )
    max_elements: int = Field(100, ge=1, le=10_000, description="Elements that an array may have, at most")
    structure: Literal["fields", "refuse"] = Field(
        "fields", description="fields: a signal `name.field` for each field of a structure or union"
    )
    fields: list[str] = Field(
        default_factory=list,
        description="Fields of a structure that are wanted, such as position.x, with all below; left out: all",
    )
    bytes: Literal["refuse", "hex"] = Field("refuse", description="hex: byte strings as hexadecimal digits")
    names: bool = Field(
        True, description="For an enumeration also a text signal `<name>.text` with the name of each value"
    )

    @model_validator(mode="after")
    def _is_somewhere(self) -> OpcUaSignal:
        if (self.node is None) == (self.path is None):
            raise ValueError(
                "give the signal a node: (its NodeId) or a path: (its browse names), and not both"
            )
        if self.root is not None and self.path is None:
            raise ValueError("root is where a path: begins, and this signal has none")
        self._can_be_named()
        return self

    def _can_be_named(self) -> None:
        wildcards = self.wildcards
        check_rule(self.name, wildcards, repr(self.node or self.path))
        for rule in (self.label, self.increments):
            if wildcards and holes(rule):
                check_rule(rule, wildcards, repr(self.node or self.path))
        said = [key for key in ("increments", "counter", "stale_after") if getattr(self, key)]
        if said and self.path is not None and wildcards:
            raise ValueError(
                f"{said[0]} needs a signal of its own: write it beside the pattern with a plain path"
            )

    @property
    def wildcards(self) -> int:
        """How many numbers a name rule may use; 0: this is one signal."""
        return id_ranges(self.node) if self.node is not None else self.browse_path.wildcards

    @property
    def browse_path(self) -> BrowsePath:
        return parse_path(self.path or "")

    @property
    def where(self) -> str:
        """As it was written."""
        return self.node or self.path or ""

    @property
    def names_made(self) -> str:
        return treated_names(self.name)

    def each(self) -> Iterator[OpcUaSignal]:
        """One signal for every number in its ranges; itself, if it has none."""
        if self.node is None or not self.wildcards:
            yield self
            return
        for node, numbers in expanded(self.node):
            name = named(self.name, numbers)
            if wrong := unusable(name):
                raise ValueError(f"{self.name!r} for {node}: {wrong}")
            changed: dict[str, str] = {"name": name, "node": node}
            for key in ("label", "increments"):
                if holes(getattr(self, key)):
                    changed[key] = named(getattr(self, key), numbers)
            yield self.model_copy(update=changed)

    @model_validator(mode="after")
    def _elements_are_no_waveform(self) -> OpcUaSignal:
        if self.array == "elements" and self.kind == "waveform":
            raise ValueError(
                "array: elements makes a signal of every element, and kind: waveform one of all: choose"
            )
        return self

    def queue_for(self, hold: float) -> int:
        """The queue size to ask for: as configured, else as many samples as `hold` seconds bring, 10 at least."""
        if self.queue is not None:
            return self.queue
        if self.every == 0.0:
            return 100
        return max(10, min(_QUEUE_MOST, math.ceil(hold / self.every)))


def _unlike(signals: Sequence[OpcUaSignal]) -> None:
    first: dict[str, OpcUaSignal] = {}
    for signal in signals:
        other = first.setdefault(signal.name, signal)
        if other is not signal:
            raise ValueError(f"two signals are named {signal.name}: {other.where} and {signal.where}")


class OpcUaRead(ReadSettings):
    """What a machine reads from an OPC UA source."""

    signals: list[OpcUaSignal] = Field(default_factory=list)
    root: RootText | None = Field(
        None, description="Where paths begin: a NodeId or a path from Objects; left out: Objects"
    )
    events: list[OpcUaEvents] = Field(
        default_factory=list, description="Events and alarms: an entry for each notifier"
    )

    @field_validator("signals")
    @classmethod
    def _one_by_one(cls, signals: list[OpcUaSignal]) -> list[OpcUaSignal]:
        """Ranges of ids written out: whoever looks at the signals sees each of them."""
        every = [one for signal in signals for one in signal.each()]
        if len(every) > len(signals):
            _unlike(every)
        return every

    @model_validator(mode="after")
    def _reads_something(self) -> OpcUaRead:
        if not (self.signals or self.events) and self.signals_file is None:
            raise ValueError("nothing to read: give signals, a signals_file or events")
        return self


class OpcUaSource(SourceSettings):
    """An OPC UA server. Times are durations such as 250ms or 5s."""

    read_model: ClassVar[type[ReadSettings]] = OpcUaRead

    type: Literal["opcua"]
    url: OpcTcpUrl = Field(description="opc.tcp://host:port/path")
    also: list[OpcTcpUrl] = Field(
        default_factory=list,
        description="Other addresses with the same data, tried in turn when this one fails",
    )
    security: Literal["none", "sign", "sign_and_encrypt"] = "sign_and_encrypt"
    policy: Literal[
        "auto", "Aes256_Sha256_RsaPss", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Basic256", "Basic128Rsa15"
    ] = Field("auto", description="auto: the strongest that the server offers; the last two are weak")
    username: str | None = Field(None, min_length=1)
    password: Secret | None = None
    server_certificate_sha256: Fingerprint | None = Field(
        None,
        description="Fingerprint of the server's certificate; left out: what `collector trust` stored, or the trust list",
    )
    revocation_lists: Literal["if_present", "required"] = Field(
        "if_present", description="required: every authority must have a revocation list in the trust folder"
    )
    user_certificate: Path | None = Field(
        None, description="Sign in with this certificate (DER or PEM) instead of a user name"
    )
    user_key: Path | None = Field(
        None, description="The key of `user_certificate` (PEM or DER, not encrypted)"
    )
    certificate: Path | None = Field(
        None, description="Our own certificate (DER or PEM); left out: made on first use"
    )
    private_key: Path | None = Field(None, description="The key of `certificate` (PEM or DER, not encrypted)")
    mode: Mode = Field(
        "subscribe", description="poll: no subscription, for servers without; signals may say otherwise"
    )
    publishing_interval: Duration = Field(0.25, gt=0)
    keep_alive: Duration = Field(
        5.0, gt=0, description="Silence after which the server says that it is alive"
    )
    session_timeout: Duration = Field(60.0, ge=10)
    request_timeout: Duration = Field(10.0, gt=0, description="How long any single answer may take")
    hold: Duration = Field(10.0, ge=0, description="How long the server should hold values when we are slow")
    unacknowledged: int = Field(
        500, ge=10, le=100_000, description="Notifications received and not yet durable, at most"
    )

    history: Literal["auto", "off"] = Field(
        "auto", description="auto: gaps are repaired from the server's history, where it keeps one"
    )

    @model_validator(mode="after")
    def _credentials_are_safe(self) -> OpcUaSource:
        if self.password is not None and self.security != "sign_and_encrypt":
            raise ValueError(
                f"a password needs an encrypted connection: remove `security: {self.security}` (or the username and password)"
            )
        if self.user_certificate is not None and (self.security == "none" or self.username is not None):
            raise ValueError(
                "user_certificate signs in by itself: no username beside it, and no `security: none`"
            )
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username")
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together: give both, or neither")
        if (self.user_certificate is None) != (self.user_key is None):
            raise ValueError("user_certificate and user_key belong together: give both, or neither")
        return self

    def build(self, name: str, readings: Sequence[Reading], bench: Bench) -> Source:
        from adapters.opcua.source import OpcUaReader

        return OpcUaReader(name, self, tuple(in_mode(reading, self.mode) for reading in readings), bench)

    def review(self, readings: Sequence[Reading]) -> Sequence[str]:
        return tuple(self._doubts(readings))

    def _doubts(self, readings: Sequence[Reading]) -> Iterator[str]:
        exposed = not on_this_computer(urlsplit(self.url).hostname or "")
        if exposed and self.security == "none":
            yield "security: none: anybody on the network can read and change what the machine says"
        elif exposed and self.security == "sign":
            yield "security: sign: nobody can change what the machine says, but anybody on the network can read it"
        if self.policy in ("Basic256", "Basic128Rsa15"):
            yield f"policy: {self.policy}: WEAK, withdrawn by the OPC Foundation; use another as soon as the machine can"
        by_index = [s.node for s in _signals(readings) if s.node is not None and s.node.startswith("ns=")]
        if by_index:
            yield _renumbered(by_index)
        yield from self._missing()

    def _missing(self) -> Iterator[str]:
        """No error: the file may still be on its way to this computer, and every connection looks for it anew."""
        for key in ("user_certificate", "user_key", "certificate", "private_key"):
            file = getattr(self, key)
            if file is not None and not os.path.isfile(file):  # noqa: PTH113 (Path.is_file raises where a folder is closed)
                yield f"{key}: there is no file {file}, or this user may not see it: without it nothing connects"


def _signals(readings: Sequence[Reading]) -> Iterator[OpcUaSignal]:
    for reading in readings:
        if isinstance(reading.read, OpcUaRead):
            yield from reading.read.signals


def _renumbered(nodes: Sequence[str]) -> str:
    example = (
        f"nsu=<uri of namespace {parse_node_id(nodes[0]).index}>;{parse_node_id(nodes[0]).identifier_text}"
    )
    return (
        f"{len(nodes)} nodes are named by namespace index (such as {nodes[0]}): after a restart of the server the same "
        f"number may mean another namespace. Write {example} instead; `collector check --online` shows each URI"
    )
