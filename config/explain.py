"""What `check` prints: what the file expands to, so that a user sees his twelve mills and not only the one he wrote."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.settings import CounterSettings, ReadSettings, SignalSettings
from config.problems import printable, render
from config.settings import Machine, Settings, signals_of

__all__ = ["explain", "render"]

_ADDRESSES = ("node", "value", "item", "path")
"""Where an adapter's signal says what the wire calls it, in this order."""


def explain(settings: Settings) -> list[str]:
    """Per machine its reads and signals with address, unit and interval; then sources, sinks, history and buffer."""
    lines: list[str] = []
    for machine in settings.machines:
        lines.extend(_machine(settings, machine))
    return [printable(line) for line in [*lines, *_ends(settings), _totals(settings)]]


def _machine(settings: Settings, machine: Machine) -> Iterator[str]:
    label = f" ({machine.label})" if machine.label else ""
    tags = ", ".join(f"{name}={text}" for name, text in settings.tags(machine).items())
    yield f"{machine.id}{label}{f'  [{tags}]' if tags else ''}"
    for read in machine.read:
        yield from _read(settings, read)


def _read(settings: Settings, read: ReadSettings) -> Iterator[str]:
    signals = signals_of(read)
    topic = getattr(read, "topic", "")
    adopted = "; whatever else it names is taken as well" if getattr(read, "adopt", False) else ""
    url = getattr(settings.sources.get(read.source), "url", "")
    yield f"  from {read.source} {url}{f', topic {topic}' if topic else ''}{adopted}"
    rows = [_columns(signal) for signal in signals]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    for signal, row in zip(signals, rows, strict=True):
        padded = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"    {padded}  {_treatment(signal)}".rstrip()
        yield from _doubts(signal)
    for events in getattr(read, "events", ()):
        least = f" from severity {events.severity} on" if events.severity else ""
        yield f"    {events.name}.*  events of {events.notifier}{least}"


def _columns(signal: SignalSettings) -> tuple[str, str, str]:
    return signal.name, _address(signal), signal.unit or "-"


def _address(signal: SignalSettings) -> str:
    found = (str(getattr(signal, key, "") or "") for key in _ADDRESSES)
    return next((text for text in found if text), signal.name)


def _treatment(signal: SignalSettings) -> str:
    every = getattr(signal, "every", None)
    low, high = signal.range
    said = (
        f"every {seconds(every)}" if every is not None else "",
        f"deadband {signal.deadband}" if signal.deadband not in (0.0, "") else "",
        f"at most every {seconds(signal.min_interval)}" if signal.min_interval else "",
        f"range {_end(low)}..{_end(high)}" if (low, high) != (None, None) else "",
        f"stale after {seconds(signal.stale_after)}" if signal.stale_after is not None else "",
        _counting(signal.counting),
    )
    return ", ".join(text for text in said if text)


def _counting(counting: CounterSettings | None) -> str:
    if counting is None:
        return ""
    rolls = f" (rolls over at {counting.width} bits)" if counting.width else ""
    rework = f", corrections as {counting.rework}" if counting.rework else ""
    return f"increments as {counting.name}{rolls}{rework}"


def _end(bound: float | None) -> str:
    return "" if bound is None else f"{bound:g}"


def _doubts(signal: SignalSettings) -> Iterator[str]:
    """NodeIds by namespace index, which a restart of the server may renumber (OPC UA Part 3, 8.2.2)."""
    node = str(getattr(signal, "node", "") or "")
    if node.startswith("ns="):
        index, _, identifier = node.removeprefix("ns=").partition(";")
        yield f"      write nsu=<uri of namespace {index}>;{identifier}: the number may change at a restart of the server"


def seconds(duration: float) -> str:
    """A duration as it would be written in the file: 250ms, 5s, 15min, 90d."""
    for size, unit in (
        (86_400.0, "d"),
        (3_600.0, "h"),
        (60.0, "min"),
        (1.0, "s"),
        (1e-3, "ms"),
        (1e-6, "us"),
    ):
        if duration >= size and (duration / size).is_integer():
            return f"{duration / size:g}{unit}"
    return f"{duration * 1e3:g}ms" if 0 < duration < 1 else f"{duration:g}s"


def size(count: int) -> str:
    """Bytes as they would be written in the file: 500MB, 20GB."""
    for unit, bytes_ in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= bytes_:
            return f"{count / bytes_:g}{unit}"
    return f"{count}B"


def _ends(settings: Settings) -> Iterator[str]:
    for sink in settings.sinks:
        yield f"to {sink.name}: {getattr(sink, 'url', sink.type)}"
    if settings.history is not None:
        folder = settings.state / settings.history.path
        yield f"to history: {folder}, kept {seconds(settings.history.keep)}, at most {size(settings.history.max)}"
    yield f"buffer: {settings.buffer_file}, at most {size(settings.buffer.max)}"
    if settings.page is not None:
        yield f"page: http://{settings.page.host}:{settings.page.port}"


def _totals(settings: Settings) -> str:
    signals = sum(1 for _ in settings.signals())
    sources = {read.source for machine in settings.machines for read in machine.read}
    counts = ((len(settings.machines), "machine"), (signals, "signal"), (len(sources), "source"))
    return ", ".join(_counted(n, noun) for n, noun in counts)


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
