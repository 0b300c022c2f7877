"""Whether a configuration that was extended says what it said before and exactly what was added: judged before it is stored.

An anchor that two machines share, a list that lies in another file, a merge: text in one place may mean something in
another. Rather than knowing every such form, what comes out is compared with what should.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.settings import SignalSettings
from config.explain import render
from config.load import Loaded
from config.settings import Machine, Settings, signals_of
from config.writing_text import Unwritable

if TYPE_CHECKING:
    from config.writing import Written

_REMEDY = (
    "an addition would change more than it should, perhaps for a list that is shared (&name, *name): "
    "write these signals out, or give discover another file with --write and copy from it"
)


def judge(after: Loaded, before: Settings | None, written: Written, draft: str) -> None:
    """Raises Unwritable. draft: the path that the problems name instead of the file."""
    now = after.settings
    if now is None:
        said = render(after.errors).replace(draft, str(written.file))
        raise Unwritable(f"what would be written would not run:\n{said}")
    if before is None:
        return
    sources = set(before.sources) | ({written.source} if written.new_source else set())
    kept = set(now.sources) == sources and all(
        now.sources[name] == before.sources[name] for name in before.sources
    )
    rest = {"sources", "machines"}
    kept = kept and before.model_dump(exclude=rest) == now.model_dump(exclude=rest)
    ids = [*(machine.id for machine in before.machines), *written.new]
    if not kept or [machine.id for machine in now.machines] != ids:
        raise Unwritable(_REMEDY)
    for old, new in zip(before.machines, now.machines, strict=False):
        if not _kept(old, new) or _count(new) != _count(old) + written.machines.get(old.id, 0):
            raise Unwritable(f"machine {old.id}: {_REMEDY}")


def _kept(old: Machine, new: Machine) -> bool:
    """Everything of the machine is there unchanged, in its order; there may be more (before what a signals_file lists)."""
    if len(new.read) < len(old.read) or old.model_dump(exclude={"read"}) != new.model_dump(exclude={"read"}):
        return False
    pairs = list(zip(old.read, new.read, strict=False))
    keys = all(a.model_dump(exclude={"signals"}) == b.model_dump(exclude={"signals"}) for a, b in pairs)
    return keys and all(_within(signals_of(a), signals_of(b)) for a, b in pairs)


def _within(old: Sequence[SignalSettings], new: Sequence[SignalSettings]) -> bool:
    names = {signal.name for signal in old}
    return [signal for signal in new if signal.name in names] == list(old)


def _count(machine: Machine) -> int:
    return sum(len(signals_of(read)) for read in machine.read)
