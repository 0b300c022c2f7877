"""Truth against data. Both sides are sorted by signal and time; what stands on one side only is then looked at again:
the same value at another time is late, a value inside a gap record is explained, the rest is missing or spurious.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulators.verify.columns import Coder, Rows, Signal, names
from simulators.verify.gaps import Spans
from simulators.verify.sequences import Step, align
from simulators.verify.verdict import Difference, Verdict

IN_FLIGHT = 1000  # messages that a broker may send a second time

Bare = Mapping[int, list[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class How:
    """window_ns: how far away a value may be stored and still be late instead of lost. show: differences listed per sort."""

    window_ns: int = 60 * 10**9
    show: int = 10
    allow_repeats: bool = False


class Pairs(NamedTuple):
    """Row numbers: both[i] of the truth meets stored[i] of the data; the others met nobody."""

    both: NDArray[np.intp]
    stored: NDArray[np.intp]
    truth_only: NDArray[np.intp]
    data_only: NDArray[np.intp]


def compare(
    coder: Coder,
    truth: Rows,
    bare: Bare,
    data: Rows,
    *,
    excused: Mapping[str, Spans],
    how: How,
    again: Collection[int] = (),
) -> Verdict:
    """The whole comparison; `truth` are the values with a time of their own, in the order they were sent.

    again: times (ns) at which the data says that it states once more what had not changed.
    """
    verdict = Verdict(found=len(data))
    run = _Run(coder, names(coder), verdict, excused, how)
    sent, stored = settled(truth), data.sorted()
    verdict.expected = len(sent) + sum(map(len, bare.values()))
    pairs = paired(sent, stored)
    run.altered(sent, stored, pairs)
    alone = _unsaid(sent, stored, pairs.data_only, again)
    of_bare = np.isin(stored.key[alone], list(bare))
    run.timed(sent.take(pairs.truth_only), stored.take(alone[~of_bare]))
    run.bare(bare, stored.take(alone[of_bare]))
    return verdict


def _unsaid(sent: Rows, stored: Rows, alone: NDArray[np.intp], again: Collection[int]) -> NDArray[np.intp]:
    """The rows that do not state again, at such a time, what their signal has once said before it."""
    at = np.isin(stored.t[alone], list(again))
    said = [row for row in alone[at].tolist() if _said_before(sent, *stored.cells(row))]
    return alone[~np.isin(alone, said)]


def _said_before(sent: Rows, key: int, t: int, kind: int, bits: int) -> bool:
    first, end = np.searchsorted(sent.key, [key, key + 1])
    end = first + np.searchsorted(sent.t[first:end], t)
    return bool(((sent.kind[first:end] == kind) & (sent.bits[first:end] == bits)).any())


def settled(rows: Rows) -> Rows:
    """The times under which values must be found: the same value twice at one time is one fact, another value at the
    same time moves to the next free nanosecond, in the order of the wire.
    """
    rows = rows.sorted()
    while (repeated := rows.repeats()).any():
        t, keep = rows.t.copy(), np.ones(len(rows), np.bool_)
        for first, last in _groups(repeated):
            seen: dict[tuple[int, int], int] = {}
            for row in range(first, last):
                value = int(rows.kind[row]), int(rows.bits[row])
                keep[row] = value not in seen
                t[row] += seen.setdefault(value, len(seen))
        rows = Rows(rows.key, t, rows.kind, rows.bits).take(keep).sorted()
    return rows


def _groups(repeated: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and last + 1 of the runs of rows that share signal and time."""
    edges = np.diff(np.concatenate([[False], repeated, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    yield from zip((starts - 1).tolist(), ends.tolist(), strict=True)


def paired(sent: Rows, stored: Rows) -> Pairs:
    """Meet by signal and time; a second stored row of one signal and time meets nobody."""
    key = np.concatenate([sent.key, stored.key])
    t = np.concatenate([sent.t, stored.t])
    order = np.lexsort((t, key))  # stable: of equals, the truth's row comes first
    key, t = key[order], t[order]
    equal = np.zeros(len(order), np.bool_)
    equal[:-1] = (key[1:] == key[:-1]) & (t[1:] == t[:-1])
    from_truth = order < len(sent)
    first = np.flatnonzero(equal & from_truth)
    met = np.zeros(len(order), np.bool_)
    met[first] = met[first + 1] = True
    alone = order[~met]
    return Pairs(
        order[first],
        order[first + 1] - len(sent),
        alone[alone < len(sent)],
        alone[alone >= len(sent)] - len(sent),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """Fills the verdict."""

    coder: Coder
    names: Mapping[int, Signal]
    verdict: Verdict
    excused: Mapping[str, Spans]
    how: How

    def altered(self, sent: Rows, stored: Rows, pairs: Pairs) -> None:
        same = (sent.kind[pairs.both] == stored.kind[pairs.stored]) & (
            sent.bits[pairs.both] == stored.bits[pairs.stored]
        )
        self.verdict.altered += int(np.count_nonzero(~same))
        for row in np.flatnonzero(~same)[: self.how.show].tolist():
            key, t, kind, bits = sent.cells(pairs.both[row])
            _, _, *other = stored.cells(pairs.stored[row])
            self._list("altered", key, t, (kind, bits), (other[0], other[1]))

    def timed(self, lost: Rows, extra: Rows) -> None:
        late_lost, late_extra = _late(lost, extra, self.how.window_ns)
        self.verdict.late += len(late_lost)
        for row, place in list(zip(late_lost, late_extra, strict=True))[: self.how.show]:
            key, t, kind, bits = lost.cells(row)
            value, stored_t = self.coder.value(kind, bits), int(extra.t[place])
            self.verdict.first["late"].append(Difference(*self.names[key], t, value, stored_t))
        self._missing(lost.take(_others(len(lost), late_lost)))
        extra = extra.take(_others(len(extra), late_extra))
        self.verdict.spurious += len(extra)
        for row in range(min(len(extra), self.how.show)):
            key, t, kind, bits = extra.cells(row)
            self._list("spurious", key, t, None, (kind, bits))

    def _missing(self, lost: Rows) -> None:
        explained = np.zeros(len(lost), np.bool_)
        for key in np.unique(lost.key).tolist():
            if (spans := self.excused.get(self.names[key][0])) is not None:
                rows = lost.key == key
                explained[rows] = spans.cover(lost.t[rows], lost.t[rows])
        self.verdict.explained += int(np.count_nonzero(explained))
        lost = lost.take(~explained)
        self.verdict.missing += len(lost)
        for row in range(min(len(lost), self.how.show)):
            key, t, kind, bits = lost.cells(row)
            self._list("missing", key, t, (kind, bits), None)

    def bare(self, bare: Bare, extra: Rows) -> None:
        for key, sent in bare.items():
            rows = extra.take(extra.key == key)
            values = list(zip(rows.kind.tolist(), rows.bits.tolist(), strict=True))
            for step in align(sent, values):
                self._step(key, step, sent, values, rows.t)

    def _step(
        self,
        key: int,
        step: Step,
        sent: list[tuple[int, int]],
        stored: list[tuple[int, int]],
        times: NDArray[np.int64],
    ) -> None:
        verdict = self.verdict
        if step.sort == "missing" and self._gap_beside(key, step.stored, times):
            verdict.explained += 1
        elif step.sort == "spurious" and self._repeats(stored[step.stored], sent[: step.sent]):
            verdict.repeated += 1
        else:
            setattr(verdict, step.sort, getattr(verdict, step.sort) + 1)
            was = None if step.sort == "spurious" else sent[step.sent]
            now = None if step.sort == "missing" else stored[step.stored]
            t = int(times[step.stored]) if step.sort == "spurious" else None
            if len(verdict.first[step.sort]) < self.how.show:
                self._list(step.sort, key, t, was, now)

    def _repeats(self, value: tuple[int, int], before: list[tuple[int, int]]) -> bool:
        """May it be one of the last messages again, which a broker sends anew after it lost the connection?"""
        return self.how.allow_repeats and value in before[-IN_FLIGHT:]

    def _gap_beside(self, key: int, place: int, times: NDArray[np.int64]) -> bool:
        """Does a gap record touch the time between the stored neighbours of a value that has no time itself?"""
        spans = self.excused.get(self.names[key][0])
        if spans is None:
            return False
        limits = np.iinfo(np.int64)
        before = times[place - 1] if place else limits.min
        after = times[place] if place < len(times) else limits.max
        return bool(spans.cover(np.array([before], np.int64), np.array([after], np.int64))[0])

    def _list(
        self, sort: str, key: int, t: int | None, was: tuple[int, int] | None, now: tuple[int, int] | None
    ) -> None:
        expected = None if was is None else self.coder.value(*was)
        found = None if now is None else self.coder.value(*now)
        if len(self.verdict.first[sort]) < self.how.show:
            self.verdict.first[sort].append(Difference(*self.names[key], t, expected, found))


def _others(size: int, rows: Iterable[int]) -> NDArray[np.bool_]:
    others = np.ones(size, np.bool_)
    others[list(rows)] = False
    return others


def _late(lost: Rows, extra: Rows, window_ns: int) -> tuple[list[int], list[int]]:
    """Pairs of a lost and an extra row with one signal and value, at most the window apart, in order of time."""
    waiting: dict[tuple[int, int, int], list[int]] = {}
    if not len(lost) or not len(extra):
        return [], []
    for row, cells in enumerate(
        zip(extra.key.tolist(), extra.kind.tolist(), extra.bits.tolist(), strict=True)
    ):
        waiting.setdefault(cells, []).append(row)
    places = dict.fromkeys(waiting, 0)
    found: tuple[list[int], list[int]] = ([], [])
    times = extra.t.tolist()
    columns = (lost.key.tolist(), lost.kind.tolist(), lost.bits.tolist())
    for row, (cells, t) in enumerate(zip(zip(*columns, strict=True), lost.t.tolist(), strict=True)):
        rows, place = waiting.get(cells, []), places.get(cells, 0)
        while place < len(rows) and times[rows[place]] < t - window_ns:
            place += 1
        if place < len(rows) and times[rows[place]] <= t + window_ns:
            found[0].append(row)
            found[1].append(rows[place])
            place += 1
        if rows:
            places[cells] = place
    return found
