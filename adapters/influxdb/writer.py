"""Sends lines and finds the bad ones: a refused request is halved down to the line, and the line down to the field.

The server names at best the first bad line, in words that differ between versions, and may have stored the rest or
nothing. Halving needs neither: it asks again with less, which is harmless because a line written twice is one line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from adapters.errors import Rejected
from adapters.influxdb.answers import Verdict
from adapters.influxdb.encode import Encoded, Encoder, Line, Unstorable
from pipelines.batch import Batch
from pipelines.stage import Refusal


class Outcome(NamedTuple):
    verdict: Verdict
    message: str


Post = Callable[[bytes], Outcome]
_LONGEST_RAW = 65_536


class Writer:
    """One ordered writer. `limit` is the number of lines per request; it shrinks when the server says 413."""

    def __init__(self, post: Post, encoder: Encoder, limit: int, now: Callable[[], int]) -> None:
        self.limit = limit
        self._post = post
        self._encoder = encoder
        self._now = now

    def write(self, batches: Sequence[Batch]) -> None:
        """Returns when everything is stored; raises Rejected when everything but the named values is."""
        encoded = self._encoder.encode(batches)
        refused = [self._unwritten(row) for row in encoded.unstorable]
        begin = 0
        while begin < len(encoded.texts):
            end = min(begin + self.limit, len(encoded.texts))
            refused += self._send(encoded, begin, end)
            begin = end
        self._encoder.settle(encoded)
        if refused:
            raise Rejected(f"InfluxDB will never take {sum(r.values for r in refused)} values", refused)

    def _send(self, encoded: Encoded, begin: int, end: int) -> list[Refusal]:
        outcome = self._post("\n".join(encoded.texts[begin:end]).encode())
        if outcome.verdict is Verdict.STORED:
            return []
        if end - begin == 1:
            return self._take_apart(encoded.line(begin), outcome)
        if outcome.verdict is Verdict.TOO_LARGE:
            self.limit = max(1, (end - begin) // 2)
        middle = (begin + end) // 2
        return [*self._send(encoded, begin, middle), *self._send(encoded, middle, end)]

    def _take_apart(self, line: Line, outcome: Outcome) -> list[Refusal]:
        """The fields of a refused line that are refused alone."""
        n = len(line.fields)
        if n == 1:
            return [self._refusal(line, outcome)]
        refused: list[Refusal] = []
        for part in (line.part(0, n // 2), line.part(n // 2, n)):
            again = self._post(part.text().encode())
            if again.verdict is not Verdict.STORED:
                refused += self._take_apart(part, again)
        return refused

    def _refusal(self, line: Line, outcome: Outcome) -> Refusal:
        slot = self._encoder.slot(line.slots[0])
        reason = f"InfluxDB refuses it: {outcome.message or 'too large'}. {advice(outcome)}"
        raw = line.text().encode()[:_LONGEST_RAW]
        return Refusal(f"{slot.machine}/{slot.signal}", reason, raw, self._now(), line.values[0])

    def _unwritten(self, row: Unstorable) -> Refusal:
        point = self._encoder.names.registry[row.point]
        raw = f"{row.value} {row.at}".encode()[:_LONGEST_RAW]
        return Refusal(f"{point.machine}/{point.name}", row.reason, raw, self._now())


def advice(outcome: Outcome) -> str:
    """What the user can change, from the server's words (InfluxDB 1.8, 2.7)."""
    if outcome.verdict is Verdict.TOO_LARGE:
        return "A single value is larger than the server's limit: raise the limit of the server."
    conflict = re.search(r"is type (\w+), already exists as type (\w+)", outcome.message)
    if conflict:
        return (
            f"The field has type {conflict[2]} in the database and is {conflict[1]} here: give the signal another name, "
            "or remove the field from the database."
        )
    if re.search("retention|outside", outcome.message):
        return (
            "Its time is older than the database keeps: make the retention of the bucket or database longer."
        )
    return "Correct what the server names, then replay it from the quarantine."
