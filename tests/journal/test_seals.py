"""Rows altered or taken away behind the journal's back (D7), table by table: what the start makes of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.journal.base import SinkAccount
from pipelines.stage import Gap
from tests.contracts.journal import START, append, refusal, seen_by, take
from tests.journal.test_damage import edit, filled, opened, path

__all__ = ["path"]


@pytest.mark.parametrize(
    "lie", ["source = 's9'", "appended = appended + 1", "count = 5", "total = total + 64", "damaged = 1"]
)
@pytest.mark.parametrize("position", [1, 4, 10])
async def test_d7_an_entry_whose_own_words_are_wrong_is_set_aside(
    path: Path, lie: str, position: int
) -> None:
    """D7: its blob is whole, but whose it is or how many values it has is not known: the books go by its neighbours."""
    await filled(path)
    edit(path, f"UPDATE entries SET {lie} WHERE position = ?", [position])
    async with opened(path) as journal:
        seen = seen_by(await take(journal, "sink", 10))
        assert seen == [10 * n + i for n in range(1, 11) if n != position for i in range(3)]
        (told,) = await journal.gaps()
        assert (told.position, told.gap.reason, told.gap.count) == (position, "journal_damaged", 3)
        await journal.commit("sink", 10)
        assert (await journal.ledger()).sinks["sink"] == SinkAccount(30, 27, 3, 0, 10)
    async with opened(path) as journal:
        assert len(await journal.gaps()) == 1


async def in_every_table(path: Path) -> None:
    await filled(path)
    async with opened(path) as journal:
        told = [Gap(START, START, "connection_lost", "cable"), Gap(START, START, "connection_lost", "power")]
        await append(journal, [999.0], refused=[refusal(), refusal(2)], gaps=told, checkpoint=b"here")
        await journal.commit("sink", 3)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE points SET name = 'loaf' WHERE id = 1", "the name of point 1"),
        ("UPDATE points SET unit = '&' WHERE id = 1", "the name of point 1"),
        ("DELETE FROM points WHERE id = 1", "the name of point 1"),
        ("DELETE FROM points WHERE id = 0", "the name of point 0"),
        ("UPDATE sources SET checkpoint = 'hero' WHERE name = 's1'", "the checkpoint of 's1'"),
        ("DELETE FROM sources WHERE name = 's1'", "the checkpoint of another one"),
        ("UPDATE followers SET cursor = 7", "how far 'sink' had got"),
        ("DELETE FROM followers", "how far another one had got"),
        ("UPDATE gaps SET ends = ends + 4 WHERE number = 1", "1 gap records did not read back"),
        ("DELETE FROM gaps WHERE number = 2", "1 gap records did not read back"),
        ("UPDATE quarantine SET reason = 'nit a number' WHERE number = 1", "1 refusals in quarantine"),
        ("DELETE FROM quarantine WHERE number = 2", "1 refusals in quarantine"),
    ],
)
async def test_d7_what_is_altered_or_gone_is_told(path: Path, statement: str, words: str) -> None:
    """D7: no row of any table can change or vanish without a word, and nothing is lost by it that was not in the row."""
    await in_every_table(path)
    edit(path, statement)
    async with opened(path) as journal:
        (told,) = [one.gap for one in await journal.gaps() if one.gap.reason == "journal_damaged"]
        assert words in told.detail
        assert journal.checkpoint("s1") == (None if "sources" in statement else b"here")
        wrong = [p for p in journal.registry.since(0) if p.name != "load" and p.machine != "unknown"]
        assert not wrong
        assert (await journal.ledger()).unaccounted == 0
        assert seen_by(await take(journal, "sink", 11))[-1] == 999.0
    async with opened(path) as journal:  # told once
        assert len([one for one in await journal.gaps() if one.gap.reason == "journal_damaged"]) == 1


async def test_d7_a_cursor_that_is_wrong_loses_nothing(path: Path) -> None:
    """D7: off by a bit it would pass over values; so everything that is held comes again."""
    await in_every_table(path)
    edit(path, "UPDATE followers SET cursor = 11")
    async with opened(path) as journal:
        assert seen_by(await take(journal, "sink", 11))[0] == 10.0


async def test_d7_a_change_does_not_make_a_flip_look_right(path: Path) -> None:
    """D7: a row that was altered while the journal is open keeps a wrong seal, whatever is booked in it afterwards."""
    async with opened(path) as journal:
        await append(journal, [1.0], checkpoint=b"a")
        edit(path, "UPDATE sources SET decoded = decoded + 1024")
        await append(journal, [2.0], checkpoint=b"b")
    async with opened(path) as journal:
        assert "the books and the checkpoint of 's1'" in (await journal.gaps())[0].gap.detail
        assert (await journal.ledger()).unaccounted == 0


async def test_d7_values_of_a_point_without_a_name_are_told_with_their_range(path: Path) -> None:
    """D7: they go by a name that says so, and never by a wrong one."""
    await filled(path)
    edit(path, 'UPDATE points SET tags = \'{"line": "8"}\' WHERE id = 0')
    async with opened(path) as journal:
        (told,) = await journal.gaps()
        assert "positions 1 to 9" in told.gap.detail
        assert told.gap.count == 15
        assert (told.gap.begins, told.gap.ends) == (START + 10_000, START + 92_000)
        assert journal.registry[0].machine == "unknown"


async def test_an_entry_taken_from_the_front_is_told(path: Path) -> None:
    """D7: what was deleted in order is known, so that what else is missing there is seen."""
    await filled(path)
    edit(path, "DELETE FROM entries WHERE position <= 2")
    async with opened(path) as journal:
        await take(journal, "sink", 10)
        (told,) = await journal.gaps()
        assert "positions 1 to 2" in told.gap.detail
        assert told.gap.count == 6
        await journal.commit("sink", 10)
        assert (await journal.ledger()).sinks["sink"] == SinkAccount(30, 24, 6, 0, 10)
