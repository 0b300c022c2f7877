"""Recordings in SHDR, as adapters of machine tools speak it: `time|item|value|item|value…` (MTConnect, adapter protocol).

Own reading, by the shapes of the protocol and nothing else: six fields with a level are a condition, `@ASSET@` opens a
document, `*name: value` is a remark of the adapter. Every value is a text, because SHDR has no types.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from simulators.errors import SimulatorError
from simulators.recording.rows import Row, Untyped
from simulators.recording.times import CellError, time_ns
from simulators.replay.event import Event

LEVELS: Final = ("NORMAL", "WARNING", "FAULT", "UNAVAILABLE")
PARTS: Final = ("", ".code", ".severity", ".qualifier", ".message")
MISSING: Final = "UNAVAILABLE"
MARK: Final = "--multiline--"


def shdr(path: Path, machine: str) -> Iterator[Event]:
    """A line after the other. A line without a time is played at the time of the line before it."""
    t = number = 0
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                line = raw.rstrip(b"\r\n")
                if not line.strip():
                    continue
                timed, pairs = _read(path, number, line.decode("utf-8", "replace"))
                t = t if timed is None else timed
                rows = tuple(_row(t, machine, name, text) for name, text in pairs)
                yield Event(t, rows, line, timed is not None)
    except CellError as error:
        raise SimulatorError(f"{path}:{number}: {error}") from error
    except OSError as error:
        raise SimulatorError(f"{path}: cannot be read ({error.strerror or error})") from error


def _row(t: int, machine: str, name: str, text: str) -> Row:
    missing = text == MISSING
    return Row(t, machine, name, None if missing else Untyped(text), "bad" if missing else "good")


def _read(path: Path, number: int, line: str) -> tuple[int | None, list[tuple[str, str]]]:
    """The time at the head of a line, None where it has none, and names with values."""
    if line.startswith(MARK):
        return None, []
    if line.startswith("<"):
        return None, [("@ASSET@", line)]
    if line.startswith("*"):
        name, colon, said = line.partition(":")
        return None, [(name.strip(), said.strip())] if colon else []
    head, bar, rest = line.partition("|")
    if not bar:
        raise SimulatorError(f"{path}:{number}: no SHDR line (time|item|value…): {line[:60]}")
    return time_ns(head.partition("@")[0]), pairs(rest.split("|"))


def pairs(fields: list[str]) -> list[tuple[str, str]]:
    """Names and values of the fields behind the time."""
    first = fields[0]
    if first == "@ASSET@" and len(fields) > 3:
        found = [("@ASSET@.id", fields[1]), ("@ASSET@.type", fields[2])]
        return found if fields[3].startswith(MARK) else [*found, ("@ASSET@", "|".join(fields[3:]))]
    if first.startswith("@"):
        return [(first, "|".join(fields[1:]))]
    if len(fields) == 6 and fields[1].upper() in LEVELS and fields[4] in ("", "HIGH", "LOW"):
        return [(first + part, text) for part, text in zip(PARTS, fields[1:], strict=True)]
    return list(zip(fields[::2], fields[1::2], strict=False))
