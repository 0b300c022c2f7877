"""`collector export`: stored values as CSV, JSON Lines or Parquet, from history and buffer together, running or not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.cli.common import accepted, add_choice, add_config, add_period, load_config, say
from collector.cli.exits import Exit

if TYPE_CHECKING:
    import pyarrow as pa

    from config.settings import Settings


def add(commands: Any) -> None:
    parser = commands.add_parser("export", help="stored values as CSV, JSON Lines or Parquet")
    add_config(parser)
    parser.add_argument(
        "-o", "--output", type=Path, help="file (.csv, .jsonl, .parquet); default: CSV on standard output"
    )
    add_choice(parser)
    add_period(parser)
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    from collector.cli.run import in_words

    settings = accepted(load_config(arguments.config))
    return Exit.CONFIG if settings is None else in_words(lambda: _export(settings, arguments))


def _export(settings: Settings, arguments: argparse.Namespace) -> int:
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
