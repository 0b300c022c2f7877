"""The memory archive under the law of an archive."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.base import Archive
from adapters.memory import MemoryArchive
from pipelines.registry import Registry
from tests.contracts.archive import ArchiveContract, ArchiveRig, Kept, expected


class MemoryArchiveRig(ArchiveRig):
    """One object for all restarts: the dictionary is the place."""

    def __init__(self) -> None:
        self.registry = Registry()
        self._archive = MemoryArchive("history")

    def archive(self) -> Archive:
        return self._archive

    async def kept(self) -> Sequence[Kept]:
        return expected(self.registry, [entry for file in self._archive.files.values() for entry in file])

    async def files(self) -> int:
        return len(self._archive.files)


class TestMemoryArchive(ArchiveContract):
    @pytest.fixture
    def rig(self) -> ArchiveRig:
        return MemoryArchiveRig()
