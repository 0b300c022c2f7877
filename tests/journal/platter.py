"""What may be on the disk after a power cut: everything flushed, and of the rest any part, in any order, torn by the sector.

The model is harsher than real file systems: a name is there only after its folder was flushed, a flush of a file says
nothing of its name, and any subset of the writes since the last flush may be there, whole or by the sector of 512 bytes;
where a file grew and its content did not come, there are zeros or rubbish. Changes of the folder that rename or remove
come in their order (file systems keep their own journal); new names come in any.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from tests.journal.vfs import Op

SECTOR: Final = 512
FEW: Final = 3
"""Up to this many unflushed writes, every subset of them is tried."""

Image = dict[str, bytes]
Keep = dict[int, list[Op]]


@dataclass
class Platter:
    """flushed: content by file. open: what came since, by file. names: the folder as flushed. renames: what came since."""

    flushed: dict[int, bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    open: dict[int, list[Op]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, int] = field(default_factory=dict)
    renames: list[Op] = field(default_factory=list)

    @classmethod
    def of(cls, image: Image, names: dict[str, int]) -> Platter:
        """A disk that holds this image, flushed: what a start after a power cut finds."""
        platter = cls(names=dict(names))
        platter.flushed.update({names[name]: bytearray(content) for name, content in image.items()})
        return platter

    def take(self, op: Op) -> None:
        match op.kind:
            case "write" | "cut":
                self.open[op.file].append(op)
                del self.open[op.file][:-200]  # the mark is never flushed: its last writes are what matters
            case "flush":
                apply(self.flushed[op.file], self.open.pop(op.file, []))
            case "lost":
                # The kernel reports the failure once and takes the pages for clean: they never reach the disk.
                self.open.pop(op.file, None)
            case "folder":
                for change in self.renames:
                    rename(self.names, change)
                self.renames.clear()
            case _:
                self.renames.append(op)

    def images(self, rng: random.Random, count: int) -> Iterator[Image]:
        """Every subset where few writes are open, else the ends and `count` random ones. May repeat itself."""
        writes = [op for ops in self.open.values() for op in ops]
        if len(writes) <= FEW and not self.renames:
            for kept in product((False, True), repeat=len(writes)):
                yield self._image(rng, [op for op, keep in zip(writes, kept, strict=True) if keep], [])
            return
        yield self._image(rng, [], [])
        yield self._image(rng, writes, self.renames)
        for _ in range(count):
            yield self._image(rng, _survivors(rng, writes), _changes(rng, self.renames))

    def _image(self, rng: random.Random, kept: Sequence[Op], changes: Sequence[Op]) -> Image:
        by_file: Keep = defaultdict(list)
        for op in kept:
            by_file[op.file].append(op)
        names = dict(self.names)
        for change in changes:
            rename(names, change)
        return {name: self._content(rng, file, by_file[file]) for name, file in names.items()}

    def _content(self, rng: random.Random, file: int, kept: Sequence[Op]) -> bytes:
        content = bytearray(self.flushed.get(file, b""))
        size = len(content)
        apply(content, kept)
        reach = max((op.at + len(op.data) for op in self.open.get(file, ())), default=0)
        if reach > max(size, len(content)) and rng.random() < 0.3:  # the size came, the content did not
            missing = reach - len(content)
            content += rng.randbytes(missing) if rng.random() < 0.5 else bytes(missing)
        return bytes(content)


def apply(content: bytearray, ops: Sequence[Op]) -> None:
    for op in ops:
        if op.kind == "cut":
            del content[op.at :]
            content.extend(bytes(op.at - len(content)))
        else:
            content.extend(bytes(max(0, op.at - len(content))))
            content[op.at : op.at + len(op.data)] = op.data


def rename(names: dict[str, int], change: Op) -> None:
    match change.kind:
        case "link":
            names[change.name] = change.file
        case "unlink":
            names.pop(change.name, None)
        case "rename":
            old, new = change.name.split("\n")
            names.pop(old, None)
            names[new] = change.file


def _changes(rng: random.Random, renames: Sequence[Op]) -> Sequence[Op]:
    if all(change.kind == "link" for change in renames):
        return [change for change in renames if rng.random() < 0.6]
    return renames[: rng.randint(0, len(renames))]


def _survivors(rng: random.Random, writes: Sequence[Op]) -> Sequence[Op]:
    """One way in which a part of the writes survives."""
    if not writes:
        return []
    match rng.randrange(6):
        case 0:  # a prefix, the last one torn
            end = rng.randrange(len(writes))
            return [*writes[:end], *_torn(rng, writes[end], in_order=True)]
        case 1:  # all but one
            lost = rng.randrange(len(writes))
            return [*writes[:lost], *writes[lost + 1 :]]
        case 2:  # only one
            return [rng.choice(writes)]
        case 3:  # all but parts of one
            torn = rng.randrange(len(writes))
            return [*writes[:torn], *_torn(rng, writes[torn]), *writes[torn + 1 :]]
        case 4:
            likely = rng.choice((0.2, 0.5, 0.8, 0.95))
            return [op for op in writes if rng.random() < likely]
        case _:
            return [part for op in writes for part in _torn(rng, op)]


def _torn(rng: random.Random, op: Op, *, in_order: bool = False) -> list[Op]:
    """Some sectors of a write; in order: the first ones."""
    if op.kind == "cut":
        return [op] if rng.random() < 0.5 else []
    first = op.at // SECTOR * SECTOR
    parts = []
    for start in range(first, op.at + len(op.data), SECTOR):
        begin, end = max(start, op.at), min(start + SECTOR, op.at + len(op.data))
        parts.append(op._replace(at=begin, data=op.data[begin - op.at : end - op.at]))
    if in_order:
        return parts[: rng.randint(0, len(parts))]
    likely = rng.choice((0.3, 0.7, 0.95))
    return [part for part in parts if rng.random() < likely]
