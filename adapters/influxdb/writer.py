"""Sends lines and finds the bad ones: a refused request is parted until every bad value stands alone, or beside its like.

A server names at best the first bad line, in words that differ between versions, and may have stored the rest or nothing.
Asking again with less needs neither, and is harmless because a line written twice is one line. Words are used where they
save requests: a field that they name is sent apart from the rest, now and in later writes, so that a signal whose type
differs for good costs one request per write.

A server that refuses everything is not judging data: after DOUBT values refused one by one without a word about why,
and none of SAMPLES others taken either, the write ends as Misconfigured and all values are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from adapters.errors import Misconfigured, Rejected
from adapters.influxdb.answers import Verdict
from adapters.influxdb.encode import Encoded, Encoder, Unstorable
from adapters.influxdb.line import Line, Role
from adapters.influxdb.memory import HOUR, Memory
from adapters.influxdb.verdicts import Conflict, Outcome, Post, advice, conflict_of, too_old
from pipelines.batch import Batch
from pipelines.stage import Refusal

DOUBT = 100
SAMPLES = 16
_LONGEST_RAW = 65_536


class Writer:
    """One ordered writer. first: how a request is sent that nobody has refused yet (it may carry a canary)."""

    def __init__(
        self, post: Post, encoder: Encoder, memory: Memory, now: Callable[[], int], *,
        first: Post | None = None, twins: bool = False,
    ) -> None:  # fmt: skip
        self._post, self._first = post, first or post
        self._encoder, self._memory, self._now = encoder, memory, now
        self._twins = twins
        self._everything: Sequence[Line] = ()

    def write(self, batches: Sequence[Batch]) -> None:
        """Returns when everything is stored; raises Rejected when everything but the named values is."""
        encoded = self._encoder.encode(batches)
        refused = [self._unwritten(row) for row in encoded.unstorable]
        if self._memory.concerns(encoded.slots):
            self._everything = lines_of(encoded)
            refused += self._part(self._everything)
        else:
            refused += self._stream(encoded)
        self._encoder.settle(encoded)
        if refused:
            raise Rejected(f"InfluxDB will never take {sum(r.values for r in refused)} values", refused)

    def _stream(self, encoded: Encoded) -> list[Refusal]:
        """The usual case: texts as they are, in requests that the server takes."""
        refused: list[Refusal] = []
        begin, texts = 0, encoded.texts
        while begin < len(texts):
            end = self._memory.end(texts, begin)
            outcome = self._send(texts[begin:end], self._first)
            if outcome.verdict is not Verdict.STORED:
                self._everything = lines_of(encoded)
                refused += self._sort_out(self._everything[begin:end], outcome)
            begin = end
        return refused

    def _part(self, lines: Sequence[Line]) -> list[Refusal]:
        """Lines of which some fields are known to have another type in the database: those apart, field by field."""
        memory = self._memory
        rest = _some(lines, lambda slot, _: slot not in memory.disputed)
        retyped = _some(lines, memory.is_retyped, values=True)
        apart = _some(
            lines, lambda slot, at: slot in memory.disputed and not memory.is_retyped(slot, at), values=True
        )
        refused = self._deliver([*rest, *self._twins_of(retyped)], self._first)
        for group in self._by_field(apart):
            found = self._deliver(group, self._post)
            refused += found
            if not found:
                memory.forgive(_unchanged(group, memory))
        return refused

    def _by_field(self, lines: Iterable[Line]) -> list[list[Line]]:
        """Lines with one field each; those of other machines with the same field and type of a measurement go together."""
        groups: dict[tuple[str, str, str], list[Line]] = {}
        for line in lines:
            for i, slot in enumerate(line.slots):
                groups.setdefault(self._encoder.names.field_of(slot), []).append(line.part(i, i + 1))
        return list(groups.values())

    def _deliver(self, lines: Sequence[Line], post: Post) -> list[Refusal]:
        """All of them, in requests that the server takes."""
        refused: list[Refusal] = []
        texts = [line.text() for line in lines]
        begin = 0
        while begin < len(lines):
            end = self._memory.end(texts, begin)
            outcome = self._send(texts[begin:end], post)
            if outcome.verdict is not Verdict.STORED:
                refused += self._sort_out(lines[begin:end], outcome)
            begin = end
        return refused

    def _send(self, texts: Sequence[str], post: Post) -> Outcome:
        body = "\n".join(texts).encode()
        outcome = post(body)
        if outcome.verdict is Verdict.STORED:
            self._memory.refused = 0
        elif outcome.verdict is Verdict.TOO_LARGE and len(texts) > 1:
            self._memory.shrink(len(body))
        return outcome

    def _sort_out(self, lines: Sequence[Line], outcome: Outcome) -> list[Refusal]:
        """Lines that were refused together, for the reason that the outcome gives."""
        if too_old(outcome.message) >= len(lines):
            return self._refusals(lines, outcome)
        conflict = conflict_of(outcome.message)
        if conflict is None:
            return self._halve(lines, outcome)
        return self._disputed(lines, conflict, outcome)

    def _disputed(self, lines: Sequence[Line], conflict: Conflict, outcome: Outcome) -> list[Refusal]:
        """The server named a field: it is parted from the rest, then hour from hour, and what remains is refused."""
        named = self._named(lines, conflict)
        rest = _some(lines, lambda slot, _: slot not in named)
        apart = _some(lines, lambda slot, _: slot in named, values=True)
        if not apart:
            return self._halve(lines, outcome)
        self._memory.disputed |= named
        if rest:
            return [*self._deliver(rest, self._post), *self._deliver(apart, self._post)]
        hours = sorted({line.at // HOUR for line in apart})
        if len(hours) == 1:
            return self._retype_or_refuse(apart, outcome)
        of_hour = [[line for line in apart if line.at // HOUR == hour] for hour in hours]
        return [refusal for group in of_hour for refusal in self._deliver(group, self._post)]

    def _named(self, lines: Sequence[Line], conflict: Conflict) -> set[int]:
        field_of = self._encoder.names.field_of
        slots = {(slot, line.role) for line in lines if line.role is not Role.QUALITY for slot in line.slots}
        fields = [(slot, *field_of(slot, twin=role is Role.TWIN)) for slot, role in slots]
        return {slot for slot, *field in fields if conflict.concerns(*field)}

    def _retype_or_refuse(self, lines: Sequence[Line], outcome: Outcome) -> list[Refusal]:
        """Lines with one field each, all of the type that the database does not take there."""
        if lines[0].role is Role.TWIN:
            self._memory.stuck.update(line.slots[0] for line in lines)
        twins = self._twins_of(lines) if self._twins else []
        if not twins:
            return self._refusals(lines, outcome)
        moved = {line.slots[0] for line in twins}
        for line in twins:
            self._memory.retype(line.slots[0], line.at)
        left = [line for line in lines if line.slots[0] not in moved]
        return [*self._refusals(left, outcome), *self._deliver(twins, self._post)]

    def _twins_of(self, lines: Iterable[Line]) -> list[Line]:
        """The same values in fields for values of their own type, one per line; without those that can have none."""
        parts = [part for line in lines if line.role is Role.VALUE for part in line.parts()]
        stuck, twin = self._memory.stuck, self._encoder.names.twin
        named = [(part, twin(part.slots[0])) for part in parts if part.slots[0] not in stuck]
        return [part.renamed(name) for part, name in named if name is not None]

    def _halve(self, lines: Sequence[Line], outcome: Outcome) -> list[Refusal]:
        if len(lines) > 1:
            middle = len(lines) // 2
            halves = [lines[:middle], lines[middle:]]
        elif (n := len(lines[0].fields)) > 1:
            halves = [[lines[0].part(0, n // 2)], [lines[0].part(n // 2, n)]]
        else:
            self._doubt(outcome)
            return self._refusals(lines, outcome)
        return [refusal for half in halves for refusal in self._deliver(half, self._post)]

    def _doubt(self, outcome: Outcome) -> None:
        """A value is about to be refused, and the server did not say what is wrong with it."""
        self._memory.refused += 1
        if self._memory.refused < DOUBT:
            return
        for line in _spread(self._everything):
            if self._send([line.text()], self._post).verdict is Verdict.STORED:
                return
        raise Misconfigured(
            f"InfluxDB refuses everything, so this is hardly the fault of the values: {outcome.message or 'too large'}",
            "Look at what stands between the collector and the database (proxy, address, version). All values are kept; a "
            "restart of the collector puts the next of them into quarantine, if they are to blame after all.",
        )

    def _refusals(self, lines: Iterable[Line], outcome: Outcome) -> list[Refusal]:
        return [self._refusal(part, outcome) for line in lines for part in line.parts()]

    def _refusal(self, line: Line, outcome: Outcome) -> Refusal:
        """line: with one field."""
        slot = self._encoder.slot(line.slots[0])
        said = outcome.message or "too large"
        reason = f"InfluxDB refuses it: {said}. {advice(outcome, retyped=line.role is Role.TWIN)}"
        raw = line.text().encode()[:_LONGEST_RAW]
        keys = tuple((point, line.at) for point in self._encoder.names.points_of(line.slots[0]))
        return Refusal(f"{slot.machine}/{slot.signal}", reason, raw, self._now(), line.values[0], keys)

    def _unwritten(self, row: Unstorable) -> Refusal:
        point = self._encoder.names.registry[row.point]
        raw = f"{row.value} {row.at}".encode()[:_LONGEST_RAW]
        keys = ((row.point, row.at),)
        return Refusal(f"{point.machine}/{point.name}", row.reason, raw, self._now(), keys=keys)


def lines_of(encoded: Encoded) -> list[Line]:
    return [encoded.line(number) for number in range(len(encoded.texts))]


def _some(lines: Iterable[Line], wanted: Callable[[int, int], bool], *, values: bool = False) -> list[Line]:
    """The lines with those of their fields whose slot and time are wanted; without those that have none.

    Statements of quality have fields of their own, which nobody disputes: they stay with the rest, and `values` is
    without them.
    """
    found: list[Line] = []
    for line in lines:
        if line.role is not Role.QUALITY:
            found += line.choose([wanted(slot, line.at) for slot in line.slots])
        elif not values:
            found.append(line)
    return found


def _unchanged(lines: Iterable[Line], memory: Memory) -> set[int]:
    """The slots of lines that were stored as they are, none of them under another name."""
    return {line.slots[0] for line in lines} - {slot for slot, _ in memory.retyped}


def _spread(lines: Sequence[Line]) -> list[Line]:
    """Single values, evenly from all of a write and from all fields of its lines."""
    step = max(1, len(lines) // SAMPLES)
    return [
        parts[i % len(parts)] for i, line in enumerate(lines[::step][:SAMPLES]) for parts in [line.parts()]
    ]
