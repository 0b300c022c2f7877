"""`run --with-sim`: simulated machines beside the real ones, in one line, told apart by the tag `simulated`.

They are a process of their own and speak over sockets, as real ones do; their ids cannot be those of real machines by accident.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from collector.cli.common import accepted, config_paths, load_config
from collector.cli.exits import Exit

if TYPE_CHECKING:
    from config.settings import Settings

SEED = 42
Work = Callable[["Settings", Sequence[Path], argparse.Namespace], Coroutine[Any, Any, int]]


def add_with_sim(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--with-sim",
        type=kinds,
        default=(),
        metavar="KINDS",
        help="run simulated machines too, such as cnc,moulding: sim-cnc-1 and so on, tagged simulated",
    )


def kinds(text: str) -> tuple[str, ...]:
    """`cnc,cnc,moulding` as the simulators are told it."""
    counted: Counter[str] = Counter()
    machines = []
    for kind in filter(None, (word.strip() for word in text.split(","))):
        if not re.fullmatch(r"[a-z0-9]+", kind):
            raise argparse.ArgumentTypeError(f"'{kind}' is no kind of machine: python -m simulators list")
        counted[kind] += 1
        machines.append(f"{kind}=sim-{kind}-{counted[kind]}")
    if not machines:
        raise argparse.ArgumentTypeError("name kinds of machines, such as cnc,moulding")
    return tuple(machines)


async def with_sim(arguments: argparse.Namespace, work: Work) -> int:
    """Start them, read their configuration together with the user's, and work; they end with the work."""
    from collector.simulated import simulated

    paths = config_paths(arguments.config)
    with TemporaryDirectory(prefix="shopfloor-with-sim-") as folder:
        async with simulated(arguments.with_sim, Path(folder), seed=SEED, beside=True) as workshop:
            arguments.config = [*paths, workshop.config]
            loaded = load_config(arguments.config)
            settings = accepted(loaded, warn=True)
            return Exit.CONFIG if settings is None else await work(settings, loaded.files, arguments)
