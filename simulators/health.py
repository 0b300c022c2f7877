"""The command `health`: asks a running workshop's control API whether it still answers; for the health check of a container."""

import argparse
import http.client
import json
import sys
from typing import Any

from simulators import arguments

PATIENCE = 5.0  # s


def add(commands: Any) -> None:
    """The command `health`."""
    parser = commands.add_parser(
        "health", help="exit code 0 if a run with --control PORT answers on this computer"
    )
    parser.add_argument("port", type=arguments.port, metavar="PORT", help="the port given to --control")
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """0: it answers that all is well; 1: not, and why."""
    why = trouble(options.port)
    if why:
        sys.stderr.write(f"simulators: {why}\n")
    return int(bool(why))


def trouble(port: int) -> str:
    """Why the workshop behind this port is not well; empty if it is."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        link.request("GET", "/health")
        said = json.loads(link.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"nobody answers on 127.0.0.1:{port} ({error}). Does a run with --control {port} go on here?"
    finally:
        link.close()
    status = said.get("status") if isinstance(said, dict) else None
    return "" if status == "ok" else f"127.0.0.1:{port} says {said!r}"
