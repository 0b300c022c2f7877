"""The process that is killed in its very first session: it stores that it listens, and never a value.

`python -m tests.opcua.first_life URL FOLDER` reads the signal `a` there into the journal of FOLDER, and says `received` when the first
value would be stored; the disk takes nothing from then on.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from adapters.base import Bench, Delivery
from adapters.clock import SystemClock
from adapters.opcua.settings import OpcUaRead, OpcUaSignal, OpcUaSource
from adapters.opcua.source import OpcUaReader
from adapters.settings import Reading
from collector.journal.sqlite import SqliteJournal, open_journal
from collector.line import intake
from pipelines.refinery import refinery
from pipelines.stage import Refined, Treatments
from tests.opcua.scripted import URI


class NoDisk:
    """A journal that takes what has no values."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def append(self, source: str, delivery: Delivery, refined: Refined) -> int:
        if delivery.decoded:
            os.write(1, b"received\n")
            await asyncio.Event().wait()
        return await self._journal.append(source, delivery, refined)


async def main(url: str, folder: Path) -> None:
    path = folder / "journal.sqlite"
    async with open_journal(path, followers=["oracle"], clock=SystemClock(), window=0.0) as journal:
        signal = OpcUaSignal.model_validate({"name": "a", "node": f"nsu={URI};s=a", "every": "10ms"})
        reading = Reading(machine="m", tags={}, read=OpcUaRead(source="plc", signals=[signal]))
        wishes = {"type": "opcua", "url": url, "security": "none", "publishing_interval": "20ms"}
        bench = Bench(journal.registry, SystemClock(), str(folder))
        source = OpcUaReader("plc", OpcUaSource.model_validate(wishes), (reading,), bench)
        no_disk: Any = NoDisk(journal)
        await intake(source, refinery(journal.registry, Treatments()), no_disk, lambda _: None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
