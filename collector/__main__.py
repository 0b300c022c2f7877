"""The command line. It parses with the standard library and imports a command's own needs only when that command runs,
so that `--help` and `check` answer at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from collector.cli.common import files_among
from collector.cli.exits import Exit

COMMANDS = (
    "demo",
    "run",
    "check",
    "doctor",
    "reload",
    "status",
    "tap",
    "quarantine",
    "release",
    "trust",
    "rewind",
    "backfill",
    "discover",
    "export",
    "record",
    "audit",
    "schema",
    "selftest",
)

EPILOG = """\
Data goes to standard output, words go to standard error; --json gives data for scripts.
Exit codes: 0 fine, 1 problems found, 2 wrong usage, 69 nothing answers (no collector running, nothing stored),
70 the buffer or the program failed, 78 the configuration was refused before anything connected."""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="collector",
        description="Reads machines over OPC UA and MQTT, keeps every value, writes time series to InfluxDB.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"collector.cli.{name}").add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    top = parser()
    arguments, rest = top.parse_known_args(argv)
    if rest and (not hasattr(arguments, "config") or any(word.startswith("-") for word in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # files behind an option that stands behind another word: argparse gives up there
        files_among(arguments, rest)
    try:
        return int(arguments.main(arguments))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
