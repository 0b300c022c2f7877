"""What several commands need: the configuration argument, loading it, words on standard error, the state folder."""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.words import printable

if TYPE_CHECKING:
    from config.load import Loaded
    from config.settings import Settings

DEFAULT_CONFIG = "collector.yaml"
DEFAULT_BUFFER = "buffer.sqlite"


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config",
        nargs="*",
        action="extend",
        type=Path,
        default=[],
        metavar="FILE",
        help=f"configuration files or folders, read as one (default: {DEFAULT_CONFIG})",
    )
    # How some commands were given it once: it goes on working everywhere.
    parser.add_argument(
        "--config", dest="config", nargs="*", action="extend", type=Path, default=[], help=argparse.SUPPRESS
    )


def add_period(parser: argparse.ArgumentParser, *, required: bool = False, until: str = "") -> None:
    """`--from` and `--to`, as ns in `begins` and `ends`. until: what holds without the latter."""
    parser.add_argument(
        "--from",
        dest="begins",
        metavar="TIME",
        type=time_of,
        required=required,
        help="first time (such as 2026-11-21 or 2026-11-21T06:30+01:00), inclusive",
    )
    otherwise = f" (default: {until})" if until else ""
    parser.add_argument(
        "--to", dest="ends", metavar="TIME", type=time_of, help=f"last time, exclusive{otherwise}"
    )


def add_choice(parser: argparse.ArgumentParser) -> None:
    """`--machine` and `--signal`, as globs."""
    parser.add_argument("--machine", default="*", metavar="NAME", help="machine; * stands for anything")
    parser.add_argument("--signal", default="*", metavar="NAME", help="signal; * stands for anything")


def time_of(text: str) -> int:
    """As ns since 1970. What lies beyond the times that can be stored (1677 to 2262) is nearly their first or last."""
    try:
        moment = dt.datetime.fromisoformat(text)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError, OSError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 2026-11-21 or 2026-11-21T08:00:00Z"
        ) from error
    most = 2**63 - 10**9  # the very last ones mean `infinity` to DuckDB
    return max(-most, min(seconds * 10**9 + moment.microsecond * 1000, most))


def files_among(arguments: argparse.Namespace, words: Sequence[str]) -> None:
    """What stood between or behind the options of a command that takes files: configuration files."""
    arguments.config = [*arguments.config, *map(Path, words)]


def heed_source(arguments: argparse.Namespace) -> None:
    """`doctor shop.yaml`: where the source may be left out, a file in its place is the configuration."""
    word = arguments.source
    if word is not None and (word.endswith((".yaml", ".yml")) or os.sep in word or Path(word).is_dir()):
        arguments.source = None
        arguments.config = [Path(word), *arguments.config]


def load_config(paths: Sequence[Path]) -> Loaded:
    from config.load import load

    return load(config_paths(paths), env=os.environ)


def config_paths(paths: Sequence[Path]) -> list[Path]:
    """As given on the command line, or the usual file here."""
    return list(paths) or [Path(DEFAULT_CONFIG)]


def accepted(loaded: Loaded, *, warn: bool = False) -> Settings | None:
    """The settings, or None after all problems have been said. warn: say warnings alone too; they do not stop anything, and
    whoever only looks at what is stored has read them in `check` and `run`.
    """
    from config.explain import render

    if loaded.problems and (warn or loaded.settings is None):
        say(render(loaded.problems))
    return loaded.settings


def say(text: str) -> None:
    """Words for a person: standard error, so that data on standard output stays data."""
    print(text, file=sys.stderr, flush=True)


def said_yes(question: str) -> bool:
    """Whether somebody types yes. Asked where words go, and no answer at all (Ctrl-D) is a no."""
    print(f"{question} Type yes: ", end="", file=sys.stderr, flush=True)
    try:
        return input().strip().lower() == "yes"
    except (EOFError, UnicodeDecodeError):
        say("")
        return False


def buffer_file(arguments: argparse.Namespace) -> Path | None:
    """The buffer of a collector, in its state folder: as given, else as configured; None after saying what is wrong."""
    if arguments.state is not None:
        return Path(arguments.state) / DEFAULT_BUFFER
    settings = accepted(load_config(arguments.config))
    return None if settings is None else settings.buffer_file


def buffer_bounds(arguments: argparse.Namespace) -> dict[str, Any]:
    """How the buffer of a stopped collector is opened: as it is configured; with `--state` alone nobody says how."""
    settings = None if arguments.state is not None else load_config(arguments.config).settings
    return {} if settings is None else settings.buffer.bounds()


def add_state(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--state", metavar="FOLDER", help="the collector's state folder, instead of a configuration"
    )


class _OneLine(logging.Formatter):
    """One line per event, whatever a machine puts into its names: control characters are shown, not obeyed."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return (
            "\n".join(printable(line) for line in text.splitlines()) if record.exc_info else printable(text)
        )


def log_to_stderr(*, quiet: bool = False) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("collector").setLevel(logging.WARNING if quiet else logging.INFO)
    logging.getLogger("collector.page").setLevel(logging.INFO)  # where the page is, is told in any case
