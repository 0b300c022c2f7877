"""The command `scenario`: a file that says everything, and the command line for the rest."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from simulators import options


def add(commands: Any) -> None:
    """The command `scenario`."""
    parser = commands.add_parser("scenario", help="a workshop from a YAML file, with faults at their times")
    parser.add_argument("file", type=Path, metavar="FILE", help="see simulators/README.md")
    options.add_common(parser)
    parser.set_defaults(main=main)


def main(given: argparse.Namespace) -> int:
    from simulators.runner import run
    from simulators.scenario.reading import read

    return asyncio.run(run(options.apply(given, read(given.file))))
