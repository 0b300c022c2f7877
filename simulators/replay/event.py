"""What a recording says at one moment."""

from typing import NamedTuple

from simulators.recording.rows import Row


class Event(NamedTuple):
    """t: ns UTC when it is played. raw: the line as recorded, for faces that can speak it. timed: the wire tells the time."""

    t: int
    rows: tuple[Row, ...]
    raw: bytes | None = None
    timed: bool = True
