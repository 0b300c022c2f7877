"""`collector schema`: the JSON Schema of the configuration, for completion in an editor."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from collector.cli.exits import Exit


def add(commands: Any) -> None:
    parser = commands.add_parser("schema", help="print the JSON Schema of the configuration file")
    parser.set_defaults(main=main)


def main(_arguments: argparse.Namespace) -> int:
    from config.schema import text

    sys.stdout.write(text())
    return Exit.OK
