"""Before a machine is trusted: what is shown of it, what a yes could not change, and the question. For `trust` and `discover`."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any

from collector.cli.common import said_yes, say

if TYPE_CHECKING:
    from adapters.opcua.security import Gate
    from adapters.opcua.trust_show import Shown


def hindrance(gate: Gate, shown: Shown) -> str:
    """What a yes could not change."""
    if gate.settings.server_certificate_sha256 is not None:
        new = shown.as_json()["sha256"]
        return (
            "The configuration names another certificate for this source (server_certificate_sha256), and that counts. If the "
            f'machine\'s certificate was renewed, compare, and write "{new}" there, or take the line out.'
        )
    return f"It would be refused even so: {shown.fault}." if shown.fault else ""


def confirmed(gate: Gate, shown: Shown, arguments: argparse.Namespace) -> str:
    if arguments.fingerprint is not None:
        wanted = re.sub(r"[:\s]", "", arguments.fingerprint).lower()
        return (
            "" if wanted == shown.fingerprint else "The machine shows another fingerprint than the one given."
        )
    if arguments.yes:
        return ""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return "Nobody to ask here: say --fingerprint SHA256 (or --yes) to trust it."
    if shown.before:
        say(f"Another certificate is trusted for {gate.source} until now; this one would take its place.")
    say("Compare the fingerprint with the one in the machine's own OPC UA settings.")
    return "" if said_yes("Is it the same?") else "Not trusted."


def rows(told: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("certificate of", told["subject"]),
        ("vouched for by", "itself" if told["issuer"] == told["subject"] else told["issuer"]),
        ("fingerprint SHA-256", told["sha256"]),
        ("fingerprint SHA-1", told["sha1"]),
        ("valid", f"{told['valid_from']} until {told['valid_until']}"),
        ("key", told["key"]),
        ("application", ", ".join(told["application_uri"]) or "none named"),
        ("calls itself", ", ".join(told["calls_itself"]) or "nothing"),
        ("for the hosts", ", ".join(told["hosts"]) or "none named"),
        ("offers", ", ".join(told["offered"])),
        ("sign in by", ", ".join(told["sign_in"]) or "not said"),
    ]
    return rows + [("trusted until now", one) for one in told["before"] if one != told["sha256"]]
