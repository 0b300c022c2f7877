"""The whole product in two short functions, and a third for the archive: wire -> journal -> database.

Nothing here retries, waits or counts: an error ends the function, and the supervisor starts it again.
"""

from __future__ import annotations

from collections.abc import Callable

from adapters.base import Archive, Sink, Source, Telling
from collector.journal.base import Journal
from collector.refused import refused_by, write_again
from pipelines.stage import Refine

Connected = Callable[[Telling | None], None]


async def intake(source: Source, refine: Refine, journal: Journal, connected: Connected) -> None:
    """From one source into the journal until the connection is lost. `refine` is new for every session."""
    async with source.session(journal.checkpoint(source.name)) as session:
        connected(session)
        async for delivery in session:
            async with journal.turn(source.name):
                refined = refine(delivery.batches, journal.identity(source.name))
                await journal.append(source.name, delivery, refined)
            await delivery.ack()


async def outflow(journal: Journal, sink: Sink, connected: Connected) -> None:
    """From the journal into one sink, in order, until the sink is lost; and what somebody wants written to it again."""
    async with sink.session() as write:
        connected(sink if isinstance(sink, Telling) else None)
        await write_again(journal, sink.name, write)
        async for position, batches in journal.follow(sink.name):
            await journal.commit(sink.name, position, await refused_by(write, batches))
            await write_again(journal, sink.name, write)


async def archival(journal: Journal, archive: Archive) -> None:
    """From the journal into the history, one sealed range at a time."""
    await archive.tidy()
    async for span in journal.ranges(archive.name, values=archive.seal_values, seconds=archive.seal_seconds):
        await archive.seal(span.first, span.last, span.entries)
        await journal.commit(archive.name, span.last)
        await archive.tidy()


async def archive_rest(journal: Journal, archive: Archive) -> None:
    """Seal what is in the journal now, however little it is: for an orderly stop."""
    tail = (await journal.ledger()).tail
    if (await journal.ledger()).sinks[archive.name].cursor >= tail:
        return
    async for span in journal.ranges(archive.name, values=archive.seal_values, seconds=0.0):
        await archive.seal(span.first, span.last, span.entries)
        await journal.commit(archive.name, span.last)
        if span.last >= tail:
            return
