"""The command `proxy`: what the command line offers; the rest is imported when it runs."""

import argparse
import asyncio
from typing import Any

from simulators.arguments import peer, port


def add(commands: Any) -> None:
    """The command `proxy`."""
    parser = commands.add_parser("proxy", help="a TCP proxy with faults that are switched while it runs")
    parser.add_argument("--to", type=peer, required=True, metavar="HOST:PORT", help="the service behind it")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this computer only)"
    )
    parser.add_argument("--port", type=port, default=0, help="port to listen on; 0: a free one (default)")
    parser.add_argument(
        "--faults",
        metavar="JSON",
        default="{}",
        help='first command, for example \'{"both": {"latency": 0.1}}\'',
    )
    parser.set_defaults(main=main)


def main(options: argparse.Namespace) -> int:
    """Run until `stop`, SIGTERM or Ctrl-C."""
    from simulators.proxy.control import run

    return asyncio.run(run(options.to, options.host, options.port, options.faults.encode()))
