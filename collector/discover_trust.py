"""Before an OPC UA machine is looked at: whether it is the one that it should be, by the same questions as `collector trust`."""

from __future__ import annotations

import argparse
import asyncio

from collector.audit import note
from collector.cli.common import say
from collector.discover import Target, gate_of
from collector.trusting import confirmed, hindrance, rows
from collector.words import printable


def trusted(target: Target, arguments: argparse.Namespace) -> bool:
    """Whether the machine may be talked to. What is trusted now is stored for this source in the state folder.

    Raises NotConnected and Misconfigured.
    """
    if target.settings.type != "opcua":
        return True  # certificates are verified by their authority, or there are none
    from adapters.opcua.trust import TrustFolder
    from adapters.opcua.trust_show import look

    if target.settings.security == "none":
        say(
            "security: none. Anybody on the network can read and change what is said here, "
            "and nobody knows who really answers."
        )
        return True
    gate = gate_of(target)
    shown = asyncio.run(look(gate))
    if shown.trusted:
        return True
    say(f"{target.settings.url} shows a certificate that nobody has trusted yet:")
    for label, words in rows(shown.as_json()):
        say(f"  {label:<22}{printable(words)}")
    refusal = hindrance(gate, shown) or confirmed(gate, shown, arguments)
    if refusal:
        say(refusal)
        return False
    TrustFolder(target.state).pin(target.name, shown.certificate, target.settings.url)
    note(target.state, "trusted", source=target.name, url=target.settings.url, sha256=shown.fingerprint)
    say(f"Trusted for {target.name}, in {target.state}.")
    return True
