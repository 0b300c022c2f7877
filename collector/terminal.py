"""What the demo shows while it runs: live values on a terminal, a word every few seconds where there is none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from collector.run import Running
from collector.service import Companion, books, live_view
from collector.words import duration_words, printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from config.settings import Settings

PICTURES_PER_S = 4
WORDS_EVERY = 5.0
ROWS = 14  # signals shown per machine

_SIGNS = {
    "connected": ("●", "green"),
    "connecting": ("◌", "yellow"),
    "starting": ("◌", "yellow"),
    "waiting": ("✕", "red"),
    "needs_attention": ("▲", "red"),
    "stopped": ("■", "white"),
}


def live_terminal(settings: Settings) -> Companion:
    """A companion that paints one table per machine, four times a second, until the stop."""

    async def watch(running: Running, stop: asyncio.Event) -> None:
        from rich.live import Live

        view = live_view(settings, running)
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(view.follow(running.journal))
            with Live(auto_refresh=False, screen=False) as screen:
                while not stop.is_set():
                    overview = view.overview(running.health, await running.journal.ledger())
                    screen.update(_picture(overview), refresh=True)
                    await _nap(stop, 1 / PICTURES_PER_S)
            following.cancel()

    return watch


async def progress_words(running: Running, stop: asyncio.Event) -> None:
    """A companion that says every few seconds how much has come and gone."""
    from collector.cli.common import say

    began = running.clock.monotonic()
    while not stop.is_set():
        await _nap(stop, WORDS_EVERY)
        now = await books(running)
        taken = sum(row["journaled"] for row in now["sources"])
        stored = "; ".join(f"{row['name']} has {row['stored']}" for row in now["sinks"])
        say(
            f"{duration_words(running.clock.monotonic() - began):>12}: {taken} values buffered safely; {stored}"
        )


async def _nap(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass


def _picture(overview: dict[str, Any]) -> RenderableType:
    from rich.columns import Columns
    from rich.console import Group
    from rich.text import Text

    tables = [_machine(machine) for machine in overview["machines"] if machine["signals"]]
    unaccounted = overview["unaccounted"]
    words = "accounted for: every value" if not unaccounted else f"NOT accounted for: {unaccounted} values"
    return Group(Columns(tables), Text(words, style="bold green" if not unaccounted else "bold red"))


def _machine(machine: dict[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    state = machine["connection"]["state"]
    sign, colour = _SIGNS.get(state, ("?", "white"))
    title = Text.assemble((sign, colour), f" {printable(machine['label'])} ", (state, "dim"))
    table = Table(title=title, title_justify="left")
    table.add_column("signal")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("age", justify="right", style="dim")
    for signal in machine["signals"][:ROWS]:
        table.add_row(*_cells(signal))
    rest = len(machine["signals"]) - ROWS + machine["more_signals"]
    if rest > 0:
        table.caption = f"and {rest} more"
    return table


def _cells(signal: dict[str, Any]) -> tuple[RenderableType, ...]:
    from rich.text import Text

    value = signal["value"]
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    shown = Text(printable(text)[:28]) if value is not None else Text(signal["quality"], style="red")
    return (
        Text(printable(signal["label"] or signal["name"])),
        shown,
        Text(printable(signal["unit"])),
        Text(_age(signal["age_s"])),
    )


def _age(seconds: float) -> str:
    return duration_words(seconds) if seconds >= 2 else "now"
