"""Creates or extends a configuration with what a look around proposes: only what is new, and nothing that is there is touched.

What is there already is judged by address and not by name: a signal that somebody renamed, scaled or commented is the same
signal. The result is loaded before it takes the file's place; a configuration that would not run is never written.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from adapters.discovery import Proposal, ProposedMachine, ProposedRead, unique
from config.explain import render
from config.load import load
from config.settings import Machine, Settings, signals_of
from config.writing_judge import judge
from config.writing_known import Known
from config.writing_text import Group, Page, Unwritable, child, children, is_empty, word
from pipelines.derivations.counter import EVENT

HEADER: Final = """\
# Written by `collector discover`. Change what you like: running it again adds what is new and touches nothing else.
version: 1
"""


@dataclass(slots=True)
class Written:
    """What was added. machines: by id the number of new signals; new: ids of machines that were not there before.

    paths: entries that were not compared, because they name their signals by `path:`.
    """

    file: Path
    created: bool
    source: str
    new_source: bool = False
    machines: dict[str, int] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    paths: int = 0

    @property
    def signals(self) -> int:
        return sum(self.machines.values())

    @property
    def changed(self) -> bool:
        return bool(self.machines or self.new_source)


def present(file: Path, env: Mapping[str, str]) -> Settings | None:
    """The settings of a file that is to be extended; None if it does not exist, or has no machines yet.

    Raises Unwritable when it is wrong: what does not run now would not run with more in it.
    """
    if not file.exists():
        return None
    loaded = load([file], env=env)
    if loaded.settings is None and not _only_begun(file):
        raise Unwritable(f"{file} is not in order yet:\n{render(loaded.errors)}")
    return loaded.settings


def _only_begun(file: Path) -> bool:
    """Whether the file can be told to be wrong for want of machines only: what else is wrong is found when it is stored."""
    try:
        machines = child(Page(_text(file)).root, "machines")
    except Unwritable:
        return False
    return machines is None or is_empty(machines) or machines.value == []


def extend(file: Path, proposal: Proposal, env: Mapping[str, str], url: str = "") -> Written:
    """Write what is new of the proposal into the file. Raises Unwritable; then the file is as it was.

    url: the address of the source, as its settings have it.
    """
    file = file.resolve()
    with _one_at_a_time(file.parent):
        return _extended(file, proposal, env, url)


def _extended(file: Path, proposal: Proposal, env: Mapping[str, str], url: str) -> Written:
    created = not file.exists()
    text = HEADER if created else _text(file)
    before, page = present(file, env), Page(text)
    written = Written(file, created, proposal.name)
    held = before.sources.get(proposal.name) if before else None
    if held is not None and url and getattr(held, "url", url) != url:
        raise Unwritable(
            f"it has a source {proposal.name} with another address by now: choose another --name"
        )
    if proposal.count:
        _source(page, proposal, written)
        known = Known(before, proposal.name, proposal.namespaces)
        written.paths = known.paths
        _machines(page, _news(proposal, known), before, written)
    if page.changed:
        _store(written, page.result(), before, env, "" if created else text)
    return written


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two who extend a file at the same moment do it one after the other, where the system can tell them."""
    if sys.platform == "win32" or not folder.is_dir():
        yield
        return
    import fcntl

    with ExitStack() as held:
        with suppress(OSError):  # a folder that may not be read, a network drive that knows no locks
            handle = os.open(folder, os.O_RDONLY)
            held.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unwritable(f"{file} cannot be read: {error}") from error


def _source(page: Page, proposal: Proposal, written: Written) -> None:
    sources = child(page.root, "sources")
    if child(sources, proposal.name) is not None:
        return
    written.new_source = True
    if sources is None:
        page.add_key(page.root, "sources", Group({proposal.name: proposal.source}))
    elif is_empty(sources):
        page.fill(page.root, sources, Group({proposal.name: proposal.source}))
    else:
        page.add_key(sources, proposal.name, proposal.source)


def _news(proposal: Proposal, known: Known) -> Iterator[tuple[ProposedMachine, str]]:
    """What is not read yet of each proposed machine, and the id of the machine that reads the rest of it (or empty)."""
    for machine in proposal.machines:
        fresh, owner = [], ""
        for read in machine.reads:
            held = [known.owner(machine.id, read.keys, signal) for signal in read.signals or ({},)]
            owner = owner or next(filter(None, held), "")
            new = [s for s, has in zip(read.signals or ({},), held, strict=True) if not has]
            if new and not read.signals:
                fresh.append(read)
            elif new:
                fresh.append(ProposedRead(read.keys, tuple(new)))
        if fresh:
            yield replace(machine, reads=tuple(fresh)), owner or known.same(machine.id)


def _machines(
    page: Page, news: Iterator[tuple[ProposedMachine, str]], before: Settings | None, written: Written
) -> None:
    ids = {machine.id for machine in before.machines} if before else set()
    names: dict[str, dict[str, None]] = {}
    whole: list[dict[str, Any]] = []
    for machine, owner in news:
        place = _place(page, owner) if before else None
        if place is not None and before is not None:
            held = next(m for m in before.machines if m.id == owner)
            target = owner
            _grow(page, place, written.source, _renamed(machine, names.setdefault(owner, _names(held))))
        else:
            target = unique(machine.id, ids, "-")
            ids.add(target)
            written.new.append(target)
            whole.append(_as_data(replace(machine, id=target), written.source))
        written.machines[target] = written.machines.get(target, 0) + sum(
            len(read.signals) for read in machine.reads
        )
    _append(page, whole)


def _append(page: Page, whole: Sequence[dict[str, Any]]) -> None:
    machines = child(page.root, "machines")
    if whole and machines is None:
        page.add_key(page.root, "machines", list(whole))
    elif whole and is_empty(machines):
        page.fill(page.root, machines, list(whole))
    else:
        for machine in whole:
            page.add_item(machines, machine)


def _place(page: Page, owner: str) -> Any:
    """The node of a machine that may be extended: one that is written out under its own id."""
    found = [m for m in children(child(page.root, "machines")) if owner and word(m, "id") == owner]
    return found[0] if len(found) == 1 and child(found[0], "for_each") is None else None


def _grow(page: Page, place: Any, source: str, machine: ProposedMachine) -> None:
    """New signals into the read entry that they belong to; new read entries behind the others."""
    entries = children(child(place, "read")) or [place]
    for read in machine.reads:
        fit = [e for e in entries if word(e, "source") == source and _same(e, read.keys)]
        signals = child(fit[0], "signals") if fit and read.signals else None
        if signals is not None and not is_empty(signals):
            for signal in read.signals:
                page.add_item(signals, signal)
        elif fit and read.signals and signals is None and fit[0] is place:
            page.add_key(place, "signals", list(read.signals))
        elif child(place, "read") is not None:
            page.add_item(child(place, "read"), _entry(read, source))
        else:
            raise Unwritable(
                f"line {place.start_mark.line + 1}: write the machine with read: (a list), then it can be extended"
            )


def _same(entry: Any, keys: Mapping[str, Any]) -> bool:
    return all(word(entry, key) == keys[key] for key in ("topic", "sparkplug") if key in keys)


def _names(held: Machine) -> dict[str, None]:
    """What the machine's signals are called, and what is made of them."""
    taken: dict[str, None] = {}
    for known in (known for read in held.read for known in signals_of(read)):
        counting = known.counting
        made = () if counting is None else (counting.name, counting.name + EVENT, counting.rework)
        taken.update(dict.fromkeys((known.name, *made)))
    return taken


def _renamed(machine: ProposedMachine, taken: dict[str, None]) -> ProposedMachine:
    """With names that are not taken yet; then they are."""
    reads = []
    for read in machine.reads:
        signals = []
        for signal in read.signals:
            name = unique(signal["name"], taken)
            taken[name] = None
            moved = {"item": signal["name"]} if _by_name(read.keys, signal, name) else {}
            signals.append({**signal, **moved, "name": name})
        reads.append(replace(read, signals=tuple(signals)))
    return replace(machine, reads=tuple(reads))


def _by_name(keys: Mapping[str, Any], signal: Mapping[str, Any], name: str) -> bool:
    """Whether the name was the address, too (a topic segment), and must stay it under another name."""
    return "{signal}" in keys.get("topic", "") and "item" not in signal and name != signal["name"]


def _entry(read: ProposedRead, source: str) -> dict[str, Any]:
    return {"source": source, **read.keys, **({"signals": list(read.signals)} if read.signals else {})}


def _as_data(machine: ProposedMachine, source: str) -> dict[str, Any]:
    label = {"label": machine.label[:200]} if machine.label and machine.label.isprintable() else {}
    return {"id": machine.id, **label, "read": [_entry(read, source) for read in machine.reads]}


def _store(written: Written, text: str, before: Settings | None, env: Mapping[str, str], was: str) -> None:
    """Beside the file first, loaded there, and then in its place: whole or not at all. was: what this adds to."""
    file = written.file
    draft = file.with_name(f".{secrets.token_hex(4)}.{file.name}")
    try:
        _write(draft, text, _mode(file))
        judge(load([draft], env=env), before, written, str(draft))
        if was != (_text(file) if file.exists() else ""):
            raise Unwritable("somebody has changed it in this very moment: run this again")
        draft.replace(file)
    except OSError as error:
        raise Unwritable(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)


def _mode(file: Path) -> int:
    """Rights of the new file: those of the old one. Raises Unwritable when that may not be written: replacing would."""
    if not file.exists():
        return 0o666
    mode = stat.S_IMODE(file.stat().st_mode)
    if not mode & 0o222 or not os.access(file, os.W_OK):
        raise Unwritable(
            f"{file} is write-protected: give yourself the right to write it, or name another file"
        )
    return mode


def _write(draft: Path, text: str, mode: int) -> None:
    """With its rights from the beginning: what is in it may be for few eyes."""
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        out.write(text.encode("utf-8"))
        out.flush()
        os.fsync(out.fileno())
