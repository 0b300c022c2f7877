"""`collector schema`: the JSON Schema of the configuration, for completion in an editor."""

from __future__ import annotations

import argparse
import json
from typing import Any

from collector.cli.exits import Exit


def add(commands: Any) -> None:
    parser = commands.add_parser("schema", help="print the JSON Schema of the configuration file")
    parser.set_defaults(main=main)


def main(_arguments: argparse.Namespace) -> int:
    from config.schema import schema

    print(json.dumps(schema(), indent=2, ensure_ascii=False))
    return Exit.OK
