"""The whole treatment of what a source delivers, in one call: stages in a fixed order over columns.

  ignore     retained messages that are not wanted
  trust      the time: source, server, receive
  blank      NaN and infinities
  cast       to the point's kind; a point with scale or offset goes by way of float64: scale, then cast
  judge      the range
  thin       deadband and minimum interval
  identify   duplicates, and other values at the same time

Not a configurable graph: the order has one right answer (a range is in the point's unit, so scale comes first; a
deadband must not see what is not finite; identity must see exactly what is stored), and a stage that no point needs
costs one comparison. A batch of one wire kind may hold points of several kinds: it is split, order per point is kept.
Rows are dropped only where they are counted, and nothing is refused here: a value that cannot be used stays as a row
without value. Hence rows in = rows out + counts.

One refinery serves one session of one source: its memory (deadband, interval, stand-in times) begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from pipelines.batch import Batch, Kind
from pipelines.identity import Identity
from pipelines.registry import Registry
from pipelines.stage import Refine, Refined, Treatments
from pipelines.stages.blank import blank
from pipelines.stages.cast import cast, column_where
from pipelines.stages.identify import identify
from pipelines.stages.ignore import ignore
from pipelines.stages.judge import judge
from pipelines.stages.scale import scale
from pipelines.stages.thin import thin
from pipelines.stages.trust import Limits, trust
from pipelines.table import Table, Tally


def refinery(registry: Registry, treatments: Treatments, limits: Limits | None = None) -> Refine:
    """A new session's refine. `limits`: which times are possible. A point id that the registry lacks is an IndexError."""
    return _Refinery(Table(registry, treatments), limits or Limits())


class _Refinery:
    def __init__(self, table: Table, limits: Limits) -> None:
        self._table, self._limits = table, limits

    def __call__(self, batches: Sequence[Batch], identity: Identity) -> Refined:
        tally = Tally()
        treated = [part for batch in batches for part in self._treat(batch, tally)]
        kept, learned = identify(treated, identity, tally)
        counts = {reason: number for reason, number in tally.counts.items() if number}
        remarks = {remark: number for remark, number in tally.remarks.items() if number}
        return Refined(kept, (), counts, remarks, learned)

    def _treat(self, batch: Batch, tally: Tally) -> Iterator[Batch]:
        self._table.follow(batch.points)
        batch = ignore(batch, self._table, tally)
        if not len(batch):
            return
        batch = _finite_numbers(trust(batch, self._table, tally, self._limits), tally)
        for kind, part in _by_kind(batch, self._table):
            part = judge(self._converted(part, kind, tally), self._table, tally)  # noqa: PLW2901
            part = thin(part, self._table, tally)  # noqa: PLW2901
            if len(part):
                yield part

    def _converted(self, batch: Batch, kind: Kind, tally: Tally) -> Batch:
        """Values of the point's kind, scaled where the point says so, and finite (a text may have said `nan`)."""
        scaled = self._table.scaled[batch.points] if self._table.scales else np.zeros(1, np.bool_)
        if not scaled.any():
            done = cast(batch, kind, tally)
        elif scaled.all():
            done = self._scaled(batch, kind, tally)
        else:
            plain = cast(batch.take(~scaled), kind, tally)
            done = _merged(scaled, self._scaled(batch.take(scaled), kind, tally), plain)
        return blank(done, tally)

    def _scaled(self, batch: Batch, kind: Kind, tally: Tally) -> Batch:
        wide = cast(batch, kind if kind is Kind.WAVEFORM else Kind.NUMBER, tally)
        present = wide.has_value
        values = scale(wide.kind, wide.points, wide.values, self._table)
        if not present.all():
            values = column_where(present, values, wide.kind)
        return cast(_finite_numbers(replace(wide, values=values), tally), kind, tally)


def _finite_numbers(batch: Batch, tally: Tally) -> Batch:
    """Before a cast: NaN is not finite, rather than not castable. Waveforms wait for the end, to be counted once."""
    return blank(batch, tally) if batch.kind is Kind.NUMBER else batch


def _by_kind(batch: Batch, table: Table) -> Iterator[tuple[Kind, Batch]]:
    kinds = table.kind[batch.points]
    first = int(kinds[0])
    if (kinds == first).all():
        yield Kind(first), batch
        return
    for kind in np.unique(kinds).tolist():
        yield Kind(kind), batch.take(kinds == kind)


def _merged(mask: np.ndarray[tuple[int], np.dtype[np.bool_]], yes: Batch, no: Batch) -> Batch:
    """The rows of `yes` where the mask is true, of `no` elsewhere: what take(mask) and take(~mask) came from."""
    order = np.argsort(np.concatenate([np.flatnonzero(mask), np.flatnonzero(~mask)]))
    return replace(
        yes,
        points=np.concatenate([yes.points, no.points])[order],
        at=np.concatenate([yes.at, no.at])[order],
        values=np.concatenate([yes.values, no.values])[order],
        quality=np.concatenate([yes.quality, no.quality])[order],
        flags=np.concatenate([yes.flags, no.flags])[order],
        server_at=None
        if yes.server_at is None or no.server_at is None
        else np.concatenate([yes.server_at, no.server_at])[order],
    )
