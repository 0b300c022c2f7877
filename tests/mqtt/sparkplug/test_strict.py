"""M14: `aliases: strict` (decision 0009): every way in which a birth that moved aliases can be missed, and no value under a wrong name.

In each story Force (alias 1) and Stroke (alias 2) change their aliases in a birth that the host never sees. What comes by alias
afterwards is refused, what bears its name is stored, and the next birth that is seen ends it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from adapters.mqtt.sparkplug.host import DOUBTED, UNNUMBERED
from pipelines import quality as q
from pipelines.stage import Gap
from simulators.sparkplug.model import DataType, Metric
from tests.mqtt.sparkplug.bed import T0, Bed, Edge, living, number

Story = Callable[[Bed, Edge], None]
DOUBT = "sparkplug_aliases_in_doubt"
MOVED = (number("Force", 1.0, 2), number("Stroke", 1.0, 1))


def _born_again(edge: Edge, first: int = 0) -> None:
    """A rebirth of the node and its device, which nobody delivers."""
    edge.seq = first - 1
    edge.make("NBIRTH", [Metric("bdSeq", datatype=DataType.INT64, value=edge.bd_seq), number("Load", 1.0, 0)])
    edge.make("DBIRTH", MOVED, "press")


def device_birth_dropped(bed: Bed, edge: Edge) -> None:
    edge.make("DBIRTH", MOVED, "press")


def node_birth_dropped(bed: Bed, edge: Edge) -> None:
    for n in range(9):
        edge.ndata(number("Load", float(n)))
    _born_again(edge)


def numbers_come_round_before_the_patience_is_over(bed: Bed, edge: Edge) -> None:
    """Nine numbers behind, and the tenth is just the one that was waited for."""
    for n in range(9):
        edge.ndata(number("Load", float(n)))
    awaited = (edge.seq + 1) % 256
    _born_again(edge)
    while (edge.seq + 1) % 256 != awaited:
        edge.ndata(number("Load", 1.0))


def a_low_number_is_awaited_and_is_the_first_that_comes(bed: Bed, edge: Edge) -> None:
    """A message is missing and two wait behind it; the first word after the births that nobody heard has its number."""
    edge.make("NDATA", [number("Load", 1.0)])
    for n in range(2):
        edge.ndata(number("Load", float(n)))
    _born_again(edge)
    assert edge.seq == 1


def away_with_a_session(bed: Bed, edge: Edge) -> None:
    """A broker keeps no messages of QoS 0 for who is away: the session is there, the births are not."""
    _born_again(edge)
    bed.restart(continued=True)


def away_with_a_session_and_fitting_numbers(bed: Bed, edge: Edge) -> None:
    """As many births as before: the next number is the expected one."""
    assert edge.seq == 1
    _born_again(edge)
    assert edge.seq == 1
    bed.restart(continued=True)


def away_for_256_messages(bed: Bed, edge: Edge) -> None:
    edge.make("DBIRTH", MOVED, "press")
    for _ in range(255):
        edge.make("NDATA", [])
    bed.restart(continued=True)


def away_without_a_session(bed: Bed, edge: Edge) -> None:
    _born_again(edge)
    bed.restart(continued=False)


def away_twice(bed: Bed, edge: Edge) -> None:
    _born_again(edge)
    bed.restart(continued=False)
    bed.restart(continued=True)


def another_edge_connection_whose_birth_was_dropped(bed: Bed, edge: Edge) -> None:
    """Its will comes with a bdSeq that no birth told, and its birth fits the numbers."""
    edge.bd_seq += 2
    _born_again(edge)
    edge.ndeath()
    edge.bd_seq += 1
    _born_again(edge)


def birth_without_a_number(bed: Bed, edge: Edge) -> None:
    edge.nbirth(number("Load", 1.0, 0), seq=None)
    edge.dbirth(number("Force", 1.0, 1), number("Stroke", 1.0, 2), seq=None)
    edge.make("DBIRTH", MOVED, "press", seq=None)
    edge.seq = 30


STORIES = (
    device_birth_dropped, node_birth_dropped, numbers_come_round_before_the_patience_is_over,
    a_low_number_is_awaited_and_is_the_first_that_comes, away_with_a_session,
    away_with_a_session_and_fitting_numbers, away_for_256_messages, away_without_a_session, away_twice,
    another_edge_connection_whose_birth_was_dropped, birth_without_a_number,
)  # fmt: skip


@pytest.mark.parametrize("rebirth", [True, False])
@pytest.mark.parametrize("story", STORIES)
def test_a_birth_that_was_missed_brings_no_value_under_a_wrong_name(story: Story, rebirth: bool) -> None:
    """M14: never, whatever its quality; by name nothing is lost; the next birth ends it."""
    bed = Bed(rebirth=rebirth)
    edge = living(bed)
    story(bed, edge)
    bed.rows.clear()
    edge.ddata(number(None, 666.0, 1), number("Stroke", 5.0))
    edge.ddata(number(None, 667.0, 2))
    bed.wait(3)
    told = [(row.signal, row.value) for row in bed.rows if row.value is not None and row.signal != "m/Load"]
    assert told == [("m/Stroke", 5.0)]
    assert bed.refused[-2:] == [DOUBTED, DOUBTED]
    assert bool(bed.commands()) == rebirth
    edge.nbirth(number("Load", 1.0, 0))
    edge.dbirth(*MOVED)
    (row,) = edge.ddata(number(None, 7.0, 1))
    assert (row.signal, row.value, row.quality) == ("m/Stroke", 7.0, q.GOOD)


@pytest.mark.parametrize("story", STORIES)
def test_trusting_reads_by_the_last_birth_that_is_known(story: Story) -> None:
    """What the option means, and that the stories are what they say: with it every one of them stores a wrong name."""
    bed = Bed(strict=False)
    edge = living(bed)
    story(bed, edge)
    edge.ddata(number(None, 666.0, 1))
    bed.wait(3)
    assert ("m/Force", 666.0) in [(row.signal, row.value) for row in bed.rows]


@pytest.mark.parametrize("late", [False, True])
def test_a_number_that_waits_twice_is_of_two_births(late: bool) -> None:
    """M14: born twice within the patience, and both births of the node are lost or late: what follows has the aliases of the second."""
    bed = Bed()
    edge = living(bed)
    for n in range(9):
        edge.ndata(number("Load", float(n)))
    births = []
    for known in ((number("Force", 1.0, 1), number("Stroke", 1.0, 2)), MOVED):
        edge.seq = -1
        bd_seq = Metric("bdSeq", datatype=DataType.INT64, value=edge.bd_seq)
        births.append(edge.make("NBIRTH", [bd_seq, number("Load", 1.0, 0)]))
        edge.dbirth(*known)
    edge.ddata(number(None, 666.0, 1))
    edge.ddata(number(None, 667.0, 2))
    if late:
        bed.hear(*births[0])
    bed.wait(3)
    values = {row.value: row.signal for row in bed.rows}
    assert values.get(666.0, "m/Stroke") == "m/Stroke"
    assert values.get(667.0, "m/Force") == "m/Force"
    edge.nbirth(number("Load", 1.0, 0))
    edge.dbirth(*MOVED)
    bed.wait(0)
    assert {gap.reason for gap in bed.host.gaps} >= {DOUBT}
    assert [row.signal for row in edge.ddata(number(None, 7.0, 1))] == ["m/Stroke"]


def test_a_message_without_seq_proves_nothing() -> None:
    """tck-id-payloads-sequence-num-always-included, broken: the message is read by names, and the next with seq as before."""
    bed = Bed()
    edge = living(bed)
    rows = edge.ddata(number(None, 4.0, 1), number("Stroke", 5.0), seq=None)
    assert [(row.signal, row.value) for row in rows] == [("m/Stroke", 5.0)]
    assert bed.refused == [UNNUMBERED]
    assert edge.ddata(number(None, 6.0, 1))[0].quality == q.GOOD


def test_a_zero_that_was_left_out_is_a_zero() -> None:
    """Dialect: libraries of proto3 leave out what is zero, also a seq of 0."""
    bed = Bed()
    edge = Edge(bed)
    edge.nbirth(number("Load", 1.0, 0), seq=None)
    edge.seq = 0
    for value in range(600):
        seq = (edge.seq + 1) % 256
        edge.seq = seq
        (row,) = edge.ndata(number(None, float(value), 0), seq=seq or None)
        assert (row.value, row.quality) == (float(value), q.GOOD)


def test_messages_that_changed_places_are_no_doubt() -> None:
    """operational-behavior-host-reordering: what is put in order again proves that nothing is missing."""
    bed = Bed()
    edge = living(bed)
    messages = [edge.make("DDATA", [number(None, float(n), 1)], "press") for n in range(6)]
    for place in (2, 1, 0, 5, 4, 3):
        bed.hear(*messages[place])
    assert [(row.value, row.quality) for row in bed.rows[-6:]] == [(float(n), q.GOOD) for n in range(6)]


def test_a_birth_that_comes_late_is_a_birth() -> None:
    """Data before their own birth wait for it, and it makes them sure."""
    bed = Bed()
    edge = living(bed)
    for n in range(9):
        edge.ndata(number("Load", float(n)))
    edge.seq = -1
    birth = edge.make("NBIRTH", [number("Load", 1.0, 7)])
    data = edge.make("NDATA", [number(None, 5.0, 7)])
    assert bed.hear(*data) == []
    rows = bed.hear(*birth)
    assert [(row.signal, row.value, row.quality) for row in rows] == [
        ("m/Load", 1.0, q.GOOD),
        ("m/Load", 5.0, q.GOOD),
    ]


def test_the_name_beside_an_alias_wins_where_the_alias_is_in_doubt() -> None:
    """A contradiction is what a birth that was missed looks like; the name needs no birth."""
    bed = Bed()
    edge = living(bed)
    away_without_a_session(bed, edge)
    edge.ddata(number("Force", 5.0, 2))
    bed.wait(3)
    assert (bed.rows[-1].signal, bed.rows[-1].value, bed.refused) == ("m/Force", 5.0, [])


@pytest.mark.parametrize("said", [4, 3])
def test_the_will_of_the_connection_before_is_no_doubt(said: int) -> None:
    """tck-id-payloads-ndeath-bdseq: it comes late where the edge was back before the broker noticed. bdSeq need not rise by one."""
    bed = Bed()
    edge = Edge(bed, bd_seq=said)
    edge.nbirth(number("Load", 1.0, 0))
    edge.bd_seq = 5 if said == 4 else 77
    edge.nbirth(number("Load", 1.0, 0))
    assert edge.ndeath(said) == []
    assert edge.ndata(number(None, 2.0, 0))[0].quality == q.GOOD


def test_the_words_name_the_doubt() -> None:
    bed = Bed()
    living(bed)
    assert "in doubt" not in bed.host.words()
    bed.restart()
    assert "in doubt" in bed.host.words()


def test_a_retained_birth_proves_no_alias() -> None:
    """Dialect: it may have outlived its edge."""
    bed = Bed()
    edge = Edge(bed)
    bed.hear(*edge.make("NBIRTH", [number("Load", 1.0, 0)], timestamp=T0), retain=True)
    assert edge.ndata(number(None, 2.0, 0)) == []
    assert bed.refused == [DOUBTED]


def test_what_is_set_aside_is_a_gap() -> None:
    """Law 9: a loss that is known: one record when the doubt is over, and now and then as long as it goes on."""
    bed = Bed()
    edge = living(bed)
    away_without_a_session(bed, edge)
    told: list[Gap] = []
    for count in range(200):
        edge.ddata(number(None, 1.0, 1), number("Stroke", 2.0), number(None, 1.0, 0))
        bed.wait(1)
        edge.ms += 1000
        if count % 50 == 49:  # what is not told yet survives
            told += bed.host.gaps
            bed.restart(continued=count % 100 == 49)
    edge.nbirth(number("Load", 1.0, 0))
    edge.dbirth(*MOVED)
    bed.wait(1)
    told = [gap for gap in (*told, *bed.host.gaps) if gap.reason == DOUBT]
    doubted = sum(reason == DOUBTED for reason in bed.refused)
    assert sum(gap.count or 0 for gap in told) == doubted == 200
    assert 8 <= len(told) <= 20
    assert all(before.ends < after.begins for before, after in itertools.pairwise(told))
    assert "values by alias were set aside" in told[0].detail


def _in_doubt(bed: Bed, *metrics: Metric) -> list[Gap]:
    """The gap records of what these metrics of a doubted edge cost, once it is born again."""
    edge = living(bed)
    away_without_a_session(bed, edge)
    bed.wait(5)
    edge.ms = T0 + 5000
    edge.ddata(*metrics)
    edge.ms += 100
    edge.nbirth(number("Load", 1.0, 0))
    edge.dbirth(*MOVED)
    bed.wait(1)
    return [gap for gap in bed.host.gaps if gap.reason == DOUBT]


def test_the_gap_of_what_is_set_aside_has_the_times_of_the_values() -> None:
    """Law 9: a value is looked for under the time of its own, which is before that of its message, or a little ahead of our clock."""
    early = number(None, 1.0, 1, timestamp=T0 + 4200)
    late = number(None, 2.0, 2, timestamp=T0 + 5900)
    (gap,) = _in_doubt(Bed(), early, late)
    assert (gap.begins, gap.ends, gap.count) == ((T0 + 4200) * 10**6, (T0 + 5900) * 10**6, 2)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_that_is_wrong_gives_the_gap_its_own_times(restarted: bool) -> None:
    """Law 9: an edge an hour ahead: a record about now and one about then, and none about the hour between."""
    hour, bed = 3_600_000, Bed()
    edge = living(bed)
    away_without_a_session(bed, edge)
    edge.ddata(number(None, 1.0, 1), number(None, 2.0, 2, timestamp=T0 + hour))
    edge.ddata(number(None, 1.0, 1, timestamp=T0 + hour + 300))
    if restarted:
        bed.restart()
    edge.nbirth(number("Load", 1.0, 0))
    edge.dbirth(*MOVED)
    bed.wait(1)
    near, far = (gap for gap in bed.host.gaps if gap.reason == DOUBT)
    assert (far.begins, far.ends, far.count) == ((T0 + hour) * 10**6, (T0 + hour + 300) * 10**6, 2)
    assert near.count == 1
    assert abs(near.ends - near.begins) < 10**9
    assert "the edge's clock" in far.detail
