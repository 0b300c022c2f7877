"""`collector export`: stored values as CSV, JSON Lines or Parquet, from history and buffer together, running or not."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.cli.common import accepted, add_config, load_config, say
from collector.cli.exits import Exit

if TYPE_CHECKING:
    import pyarrow as pa


def add(commands: Any) -> None:
    parser = commands.add_parser("export", help="stored values as CSV, JSON Lines or Parquet")
    add_config(parser)
    parser.add_argument(
        "-o", "--output", type=Path, help="file (.csv, .jsonl, .parquet); default: CSV on standard output"
    )
    parser.add_argument("--machine", default="*", metavar="NAME", help="machine; * stands for anything")
    parser.add_argument("--signal", default="*", metavar="NAME", help="signal; * stands for anything")
    parser.add_argument(
        "--from",
        dest="begins",
        metavar="TIME",
        type=time_of,
        help="first time (such as 2026-11-21 or 2026-11-21T06:30+01:00), inclusive",
    )
    parser.add_argument("--to", dest="ends", metavar="TIME", type=time_of, help="last time, exclusive")
    parser.set_defaults(main=main)


def time_of(text: str) -> int:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 2026-11-21 or 2026-11-21T08:00:00Z"
        ) from error
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


def main(arguments: argparse.Namespace) -> int:
    settings = accepted(load_config(arguments.config))
    if settings is None:
        return Exit.CONFIG
    from collector.export import write_table
    from collector.journal.reader import NoJournal
    from collector.query import stored_values

    journal = settings.buffer_file
    history = None if settings.history is None else settings.state / settings.history.path
    try:
        table: pa.Table = stored_values(
            journal,
            history,
            machine=arguments.machine,
            signal=arguments.signal,
            begins=arguments.begins,
            ends=arguments.ends,
        )
    except NoJournal as error:
        say(str(error))
        return Exit.UNAVAILABLE
    write_table(table, arguments.output, sys.stdout)
    say(f"{table.num_rows} values")
    return Exit.OK
