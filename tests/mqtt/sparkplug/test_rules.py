"""The host-side rules of Sparkplug B 3.0, one test each, by the rule's id where it has one (`rules.py` has them all), else by section.

The edge writes with the simulators' encoder; no broker is needed to be told what an edge says.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from adapters.mqtt.sparkplug.node import UNBORN
from adapters.mqtt.sparkplug.recent import salt
from adapters.mqtt.sparkplug.schema import Payload
from pipelines import quality as q
from pipelines.batch import Flag
from simulators.sparkplug.model import DataType, Metric, Property
from simulators.sparkplug.model import Payload as Said
from tests.mqtt.sparkplug.bed import HERE, SPEC, T0, Bed, Edge, Row, living, number


def said(rows: list[Row]) -> list[tuple[str, Any]]:
    return [(row.signal, row.value) for row in rows]


def node(bed: Bed) -> Any:
    return bed.host.seats["plant", "cell"].node


# --- births and aliases


def test_a_birth_tells_values_and_aliases_and_alias_0_is_one() -> None:
    """tck-id-payloads-alias-birth-requirement, -alias-data-cmd-requirement: births name, data may use the alias alone."""
    bed = Bed()
    edge = Edge(bed)
    assert said(edge.nbirth(number("Load", 1.0, 0))) == [("m/Load", 1.0)]
    assert said(edge.dbirth(number("Force", 2.0, 1))) == [("m/Force", 2.0)]
    assert said(edge.ndata(number(None, 1.5, 0))) == [("m/Load", 1.5)]
    assert said(edge.ddata(number(None, 2.5, 1))) == [("m/Force", 2.5)]
    assert bed.refused == []


def test_housekeeping_is_no_signal_unless_it_is_listed() -> None:
    """6.4.21: bdSeq and Node Control/Rebirth are metrics of every NBIRTH."""
    bed = Bed([{"sparkplug": "plant/cell", "signals": [{"name": "session", "metric": "bdSeq"}]}])
    edge = Edge(bed, bd_seq=7)
    assert said(edge.nbirth(number("Load", 1.0, 0))) == [("m/session", 7)]


def test_a_rebirth_gives_aliases_another_meaning() -> None:
    """tck-id-payloads-alias-birth-requirement: the aliases of the last birth count, no others."""
    bed = Bed()
    edge = living(bed)
    edge.dbirth(number("Force", 2.0, 2), number("Stroke", 3.0, 1))
    assert said(edge.ddata(number(None, 9.0, 1))) == [("m/Stroke", 9.0)]


def test_an_alias_of_two_metrics_is_nobodys() -> None:
    """tck-id-payloads-alias-uniqueness: broken by the edge, so no value by it can be known."""
    bed = Bed()
    edge = living(bed)
    edge.dbirth(number("Force", 2.0, 1), number("Stroke", 3.0, 1))
    assert edge.ddata(number(None, 9.0, 1)) == []
    assert bed.refused == ["alias 1 was given to several metrics by its birth"]


def test_an_alias_that_no_birth_gave_is_refused_by_name() -> None:
    """M14: 6.4.6, the host never guesses."""
    bed = Bed(rebirth=True)
    edge = living(bed)
    assert edge.ddata(number(None, 9.0, 99), number(None, 4.0, 1))[0].value == 4.0
    assert bed.refused == ["alias 99 is in no birth"]
    assert bed.commands() == ["spBv1.0/plant/NCMD/cell"]


def test_an_alias_of_the_node_is_none_of_the_device() -> None:
    """tck-id-payloads-alias-uniqueness: the topic says whose the data are."""
    bed = Bed()
    assert living(bed).ddata(number(None, 9.0, 0)) == []
    assert bed.refused == ["alias 0 is in no birth"]


def test_name_and_alias_that_contradict_are_refused() -> None:
    """tck-id-payloads-alias-data-cmd-requirement: data have the alias only; both are read if they agree."""
    bed = Bed()
    edge = living(bed)
    assert said(edge.ddata(number("Force", 4.0, 1))) == [("m/Force", 4.0)]
    assert edge.ddata(number("Force", 5.0, 2)) == []
    assert bed.refused == ["'Force' with alias 2, which its birth gave to 'Stroke'"]
    edge.ddata(number(None, 5.0, None))
    assert bed.refused[1:] == ["a metric with neither name nor alias"]


def test_data_before_any_birth_are_known_by_name_alone() -> None:
    """M14: 5.x, with name and data type nothing is guessed; by alias nothing is known."""
    bed = Bed(rebirth=True)
    edge = Edge(bed)
    rows = edge.ndata(number("Load", 1.0), number(None, 2.0, 0), Metric("Raw", value=1, kind="int"))
    assert said(rows) == [("m/Load", 1.0)]
    assert bed.refused == ["alias 0 came before a birth of the node", "'Raw' is in no birth and came before a birth of the node"]  # fmt: skip
    assert bed.commands() == ["spBv1.0/plant/NCMD/cell"]


def test_a_node_birth_does_not_bear_its_devices() -> None:
    """tck-id-payloads-dbirth-order: a device is good from its own DBIRTH on."""
    bed = Bed()
    edge = living(bed)
    edge.nbirth(number("Load", 1.0, 0))
    assert edge.ddata(number(None, 9.0, 1)) == []
    assert bed.refused == ["alias 1 came before a birth of the device"]
    assert not node(bed).entities["press"].alive
    edge.dbirth(number("Force", 2.0, 1))
    assert said(edge.ddata(number(None, 9.0, 1))) == [("m/Force", 9.0)]


def test_a_device_that_is_not_born_again_becomes_stale() -> None:
    """5.x: births of devices follow the node's; who does not follow is gone, and said to be so."""
    bed = Bed()
    edge = living(bed)
    edge.nbirth(number("Load", 1.0, 0))
    assert bed.wait(UNBORN - 1) == []
    rows = bed.wait(2)
    assert said(rows) == [("m/Force", None), ("m/Stroke", None)]
    assert {row.quality for row in rows} == {q.BAD_NO_COMMUNICATION}


# --- deaths


def test_a_node_death_makes_everything_stale_when_it_is_learnt() -> None:
    """tck-id-operational-behavior-edge-node-termination-host-action-ndeath-node-offline … -devices-tags-stale."""
    bed = Bed()
    edge = living(bed)
    bed.clock.seconds = 60
    rows = edge.ndeath()
    assert said(rows) == [("m/Load", None), ("m/Force", None), ("m/Stroke", None)]
    assert {(row.quality, row.flags, row.at) for row in rows} == {
        (q.BAD_NO_COMMUNICATION, Flag.NO_VALUE, T0 + 60_000)
    }
    assert edge.ndeath() == []


def test_a_device_death_makes_that_device_stale() -> None:
    """tck-id-operational-behavior-edge-node-termination-host-action-ddeath-devices-offline: that one, at the time that it says."""
    bed = Bed()
    edge = living(bed)
    bed.clock.seconds = 60
    rows = edge.ddeath()
    assert said(rows) == [("m/Force", None), ("m/Stroke", None)]
    assert {row.at for row in rows} == {edge.ms}
    assert said(edge.ndata(number(None, 5.0, 0))) == [("m/Load", 5.0)]
    assert edge.ddata(number(None, 5.0, 1), number("Force", 5.0)) == []
    assert bed.refused == ["alias 1 came after the device died and before its next birth",
                           "'Force' is in no birth and came after the device died and before its next birth"]  # fmt: skip
    assert said(edge.dbirth(number("Force", 6.0, 1))) == [("m/Force", 6.0)]
    assert said(edge.ddeath()) == [("m/Force", None)]


def test_an_old_death_is_ignored() -> None:
    """tck-id-payloads-ndeath-bdseq: the will of a connection before says nothing about this one."""
    bed = Bed()
    edge = living(bed)
    edge.bd_seq = 5
    edge.nbirth(number("Load", 1.0, 0))
    assert edge.ndeath(4) == []
    assert node(bed).counts["old deaths"] == 1
    assert said(edge.ndata(number(None, 2.0, 0))) == [("m/Load", 2.0)]
    assert said(edge.ndeath(5))[0] == ("m/Load", None)


@pytest.mark.parametrize(("born", "died"), [(5, 6), (255, 0)])
def test_a_death_with_the_next_bd_seq_counts(born: int, died: int) -> None:
    """Dialect: pysparkplug's orderly death has the number of the connection to come; an old will cannot have it."""
    bed = Bed()
    edge = Edge(bed, bd_seq=born)
    edge.nbirth(number("Load", 1.0, 0))
    assert said(edge.ndeath(died)) == [("m/Load", None)]


def test_births_without_bd_seq_die_by_any_death() -> None:
    """6.4.21 asks for it; who leaves it out is not immortal."""
    bed = Bed()
    edge = Edge(bed)
    edge.seq = -1
    edge.say("NBIRTH", number("Load", 1.0, 0))
    assert said(edge.ndeath(3)) == [("m/Load", None)]


def test_after_a_death_nothing_is_taken_until_the_next_birth() -> None:
    """tck-id-operational-behavior-edge-node-termination-host-action-ndeath-devices-offline: aliases are void, and a name is not alive either."""
    bed = Bed(rebirth=True)
    edge = living(bed)
    edge.ndeath()
    assert edge.ndata(number(None, 5.0, 0), number("Load", 5.0)) == []
    assert [reason.partition(" came")[0] for reason in bed.refused] == [
        "alias 0",
        "'Load' is in no birth and",
    ]
    edge.nbirth(number("Load", 6.0, 3))
    assert said(edge.ndata(number(None, 7.0, 3))) == [("m/Load", 7.0)]


# --- sequence


def test_seq_wraps_from_255_to_0() -> None:
    """tck-id-payloads-sequence-num-incrementing."""
    bed = Bed()
    edge = living(bed)
    for value in range(600):
        assert said(edge.ndata(number(None, float(value), 0))) == [("m/Load", float(value))]
    assert node(bed).counts["out of order"] == 0
    assert bed.host.gaps == []


@pytest.mark.parametrize("first", [0, 1, 77, 255])
def test_a_birth_may_begin_with_any_seq(first: int) -> None:
    """tck-id-payloads-nbirth-seq says 0 to 255, another clause 0: what follows counts from there."""
    bed = Bed()
    edge = Edge(bed)
    edge.nbirth(number("Load", 1.0, 0), first=first)
    assert said(edge.ndata(number(None, 2.0, 0))) == [("m/Load", 2.0)]
    assert node(bed).counts["out of order"] == 0


def test_messages_that_changed_places_are_read_in_their_order() -> None:
    """tck-id-operational-behavior-host-reordering-start, -success."""
    bed = Bed()
    edge = living(bed)
    first, second, third = (edge.make("DDATA", [number(None, float(n), 1)], "press") for n in (10, 11, 12))
    assert bed.hear(*third) == bed.hear(*second) == []
    assert [row.value for row in bed.hear(*first)] == [10.0, 11.0, 12.0]
    assert {row.quality for row in bed.rows} == {q.GOOD}
    assert bed.wait(10) == []
    assert bed.host.gaps == []


def test_what_does_not_come_in_time_is_lost_and_said_so() -> None:
    """tck-id-operational-behavior-host-reordering-rebirth: then, and only then, births are asked for."""
    bed = Bed(rebirth=True, strict=False)
    edge = living(bed)
    edge.make("DDATA", [number(None, 10.0, 1)], "press")
    assert edge.ddata(number(None, 11.0, 1)) == []
    assert bed.commands() == []
    assert bed.wait(1.9) == []
    assert [(row.value, row.quality) for row in bed.wait(0.2)] == [(11.0, q.UNCERTAIN)]
    (gap,) = bed.host.gaps
    assert (gap.reason, gap.machines) == ("sparkplug_messages_lost", ("m",))
    assert gap.detail == "plant/cell: 1 message from seq 2 on never came"
    assert bed.commands() == ["spBv1.0/plant/NCMD/cell"]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_loss_reaches_from_the_message_before_to_the_one_behind(restarted: bool) -> None:
    """M14: what the edge said while nobody listened lies within the times of the gap."""
    bed = Bed(rebirth=True)
    edge = living(bed)
    edge.ddata(number(None, 10.0, 1))
    before = bed.rows[-1].at
    for _ in range(5):
        edge.make("DDATA", [number(None, 11.0, 1)], "press")
    bed.clock.seconds += 60
    if restarted:
        bed.restart()
    edge.ddata(number(None, 12.0, 1))
    bed.wait(3)
    (gap,) = (gap for gap in bed.host.gaps if gap.reason == "sparkplug_messages_lost")
    assert gap.begins == before * 1_000_000
    assert gap.ends >= bed.clock.now() - 4 * 10**9


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("last", ["alias", "name", "birth"])
def test_a_loss_begins_with_the_values_and_not_with_the_message_before(last: str, restarted: bool) -> None:
    """M14: an edge that is late, or gathers, sends values older than their message: so may the lost ones be."""
    bed = Bed(rebirth=True)
    edge = living(bed)
    edge.ms += 5000
    bed.clock.seconds += 6
    if last == "birth":  # what it repeats may be of last week
        edge.dbirth(
            number("Force", 10.0, 1, timestamp=T0 - 600_000_000),
            number("Stroke", 10.0, 2, timestamp=edge.ms - 2000),
        )
        wanted = edge.ms - 2001
    else:
        said = (None, 1) if last == "alias" else ("Force", None)
        for _ in range(2):  # the second one in the quick way
            edge.ddata(
                number(said[0], 10.0, said[1], timestamp=edge.ms - 20_500),
                number(None, 1.0, 2, timestamp=edge.ms - 2000),
            )
        wanted = edge.ms - 20_501
    edge.make("DDATA", [number(None, 11.0, 1, timestamp=edge.ms - 20_400)], "press")
    if restarted:
        bed.restart()
    edge.ddata(number(None, 12.0, 1))
    bed.wait(3)
    (gap,) = (gap for gap in bed.host.gaps if gap.reason == "sparkplug_messages_lost")
    assert gap.begins == wanted * 1_000_000


@pytest.mark.parametrize("died", [False, True])
def test_a_birth_as_the_first_word_after_we_were_away_hides_no_loss(died: bool) -> None:
    """M14: seq begins anew with it, so no number tells of what was said meanwhile; the time since the last word does."""
    bed = Bed(rebirth=True)
    edge = living(bed)
    bed.clock.seconds += 1
    edge.ms += 1000
    edge.ddata(number(None, 10.0, 1))
    before = bed.rows[-1].at
    if died:
        bed.clock.seconds += 5
        edge.ndeath()
        before = bed.clock.now() // 1_000_000
    for _ in range(5):
        edge.make("DDATA", [number(None, 11.0, 1)], "press")
    bed.restart()
    bed.clock.seconds += 60
    edge.ms += 60_000
    edge.nbirth(number("Load", 1.0, 0))
    (gap,) = bed.host.gaps
    assert (gap.reason, gap.begins) == ("sparkplug_messages_lost", before * 1_000_000)
    assert gap.ends >= bed.clock.now() - 10**9
    edge.nbirth(number("Load", 2.0, 0))
    assert len(bed.host.gaps) == 1, "a rebirth while we are there is no loss"


def test_after_a_loss_a_birth_makes_aliases_sure_again() -> None:
    """6.4.6: only a birth says what an alias means."""
    bed = Bed(rebirth=True, strict=False)
    edge = living(bed)
    edge.seq += 1
    edge.ddata(number(None, 11.0, 1))
    bed.wait(3)
    assert edge.ddata(number(None, 12.0, 1), number("Stroke", 1.0))[0].quality == q.UNCERTAIN
    assert bed.rows[-1].quality == q.GOOD
    edge.dbirth(number("Force", 2.0, 1))
    assert edge.ddata(number(None, 13.0, 1))[0].quality == q.GOOD
    assert edge.ndata(number(None, 13.0, 0))[0].quality == q.UNCERTAIN


def test_who_only_listens_stores_after_a_loss_as_before() -> None:
    """M14: a host that keeps time series may store; it cannot ask, so its doubt would never end (aliases: trusting)."""
    bed = Bed(strict=False)
    edge = living(bed)
    edge.seq += 1
    edge.ddata(number(None, 11.0, 1))
    assert [(row.value, row.quality) for row in bed.wait(3)] == [(11.0, q.GOOD)]
    assert len(bed.host.gaps) == 1
    assert "in doubt" in bed.host.words()
    assert bed.commands() == []


@pytest.mark.parametrize("strict", [True, False])
def test_a_message_from_before_a_birth_is_not_read_by_its_aliases(strict: bool) -> None:
    """M14: 6.4.6, late, with an alias that means something else by now."""
    bed = Bed(strict=strict)
    edge = living(bed)
    for _ in range(10):
        edge.ddata(number("Force", 1.0))
    late = edge.make("DDATA", [number(None, 666.0, 1), number("Force", 5.0)], "press")
    edge.nbirth(number("Load", 1.0, 0))
    edge.dbirth(number("Stroke", 3.0, 1))
    assert bed.hear(*late) == []
    edge.ndata(number(None, 2.0, 0))
    rows = bed.wait(3)
    assert all(row.value != 666.0 for row in bed.rows)
    assert said(rows) == [("m/Force", 5.0)]
    assert bed.refused == ["an alias of another time: the message came after later ones (seq), and a birth may lie between"]  # fmt: skip
    assert node(bed).counts["strays"] == 1


def test_a_repeated_message_is_one() -> None:
    """5.x: brokers may send twice with QoS 1; the second says nothing new."""
    bed = Bed()
    edge = living(bed)
    message = edge.make("DDATA", [number(None, 4.0, 1)], "press")
    assert len(bed.hear(*message)) == 1
    assert bed.hear(*message) == []
    assert node(bed).counts == {"repeated": 1}
    assert len(edge.ddata(number(None, 5.0, 1))) == 1


@pytest.mark.parametrize("careful", [False, True])
def test_a_checksum_that_is_equal_by_chance_takes_nothing_away(careful: bool) -> None:
    """M14: 32 bits are equal by chance once in some hours at 10,000 messages a second; what is due is no repetition."""
    bed = Bed()
    edge = living(bed)
    edge.ddata(number(None, 4.0, 1))
    more = [number("Force", 6.0, None)] if careful else []
    topic, payload = edge.make("DDATA", [number(None, 5.0, 1), *more], "press")
    node(bed).recent.add(zlib.crc32(payload) ^ salt("DDATA", "press"))
    assert [row.value for row in bed.hear(topic, payload)] == [5.0, 6.0][: 1 + careful]
    assert bed.hear(topic, payload) == []
    assert node(bed).counts == {"repeated": 1}


def test_births_of_one_millisecond_are_births() -> None:
    """Two rebirths in one millisecond: the devices' births are the same bytes, and no repetition."""
    bed = Bed()
    edge = Edge(bed)
    for load in (1.0, 2.0):
        edge.nbirth(number("Load", load, 0), timestamp=T0)
        edge.dbirth(number("Force", 2.0, 1), timestamp=T0)
    assert said(edge.ddata(number(None, 3.0, 1))) == [("m/Force", 3.0)]


def test_data_without_seq_are_read_and_counted() -> None:
    """tck-id-payloads-sequence-num-always-included, broken by the edge (aliases: trusting)."""
    bed = Bed(strict=False)
    edge = living(bed)
    assert len(edge.ddata(number(None, 4.0, 1), seq=None)) == 1
    assert node(bed).counts["without seq"] == 1
    assert len(edge.ddata(number(None, 5.0, 1))) == 1


def test_the_window_is_bounded() -> None:
    """M14: a flood behind a hole is not kept in memory without end."""
    bed = Bed(strict=False)
    edge = living(bed)
    edge.seq += 1
    for value in range(100):
        edge.ddata(number(None, float(value), 1))
    assert [row.value for row in bed.rows if row.signal == "m/Force"][1:] == [float(n) for n in range(100)]


# --- rebirth requests


def test_rebirths_are_asked_once_in_30_seconds_and_never_unasked() -> None:
    """M14: a rebirth storm helps nobody; passive unless opted in."""
    for allowed in (True, False):
        bed = Bed(rebirth=allowed)
        edge = Edge(bed)
        asked = []
        for _ in range(70):
            edge.ndata(number(None, 1.0, 5))
            asked += bed.commands()
            bed.clock.seconds += 1
        assert asked == ["spBv1.0/plant/NCMD/cell"] * (3 if allowed else 0)


def test_a_rebirth_request_is_what_the_rules_say() -> None:
    """tck-id-operational-behavior-data-commands-ncmd-rebirth-name, -value, -verb; tck-id-topics-ncmd-timestamp, payloads-ncmd-seq."""
    bed = Bed(rebirth=True)
    Edge(bed).ndata(number(None, 1.0, 5))
    ((topic, raw),) = bed.host.commands(bed.clock.monotonic(), bed.clock.now())
    payload = Payload.FromString(raw)
    (metric,) = payload.metrics
    assert topic == "spBv1.0/plant/NCMD/cell"
    assert (metric.name, metric.datatype, metric.boolean_value) == (
        "Node Control/Rebirth",
        DataType.BOOLEAN,
        True,
    )
    assert not metric.HasField("alias")
    assert payload.timestamp == T0
    assert not payload.HasField("seq")


# --- values


def test_null_historical_and_times() -> None:
    """tck-id-payloads-name-birth-data-requirement, 6.4.5: is_null, is_historical; the metric's time, the payload's, the receipt's."""
    bed = Bed()
    edge = living(bed)
    null = number(None, None, 1, is_null=True, timestamp=T0 + 7)
    old = number(None, 8.0, 1, is_historical=True, timestamp=T0 - 3_600_000)
    rows = edge.ddata(null, old, number(None, 9.0, 2))
    assert [(row.value, row.at, row.quality) for row in rows] == [
        (None, T0 + 7, q.BAD_NO_DATA), (8.0, T0 - 3_600_000, q.GOOD), (9.0, edge.ms, q.GOOD)
    ]  # fmt: skip
    assert [row.flags for row in rows] == [Flag.NO_VALUE, Flag.HISTORICAL, 0]
    (row,) = edge.ddata(number(None, 9.5, 2), timestamp=None)
    assert (row.at, row.flags) == (T0, Flag.TIME_SUBSTITUTED)


def test_null_with_a_value_and_nothing_at_all_are_refused() -> None:
    """tck-id-operational-behavior-data-publish-nbirth-values: one of both, and not none."""
    bed = Bed()
    living(bed).ddata(number(None, 5.0, 1, is_null=True), number(None, None, 2))
    assert bed.refused == ["Force: is_null and a value", "Stroke: neither a value nor is_null"]


def test_another_datatype_than_in_the_birth_is_refused_unless_both_are_numbers() -> None:
    """tck-id-payloads-metric-datatype-req: a text where a number was born is no value of that number."""
    bed = Bed()
    edge = living(bed)
    text = Metric("Force", datatype=DataType.STRING, value="12,5")
    assert said(edge.ddata(text, number("Stroke", 7, datatype=DataType.INT32))) == [("m/Stroke", 7)]
    assert bed.refused == ["'Force' is String where its birth said Double"]


def test_transient_metrics_are_taken_where_they_are_listed() -> None:
    """6.4.5, is_transient: not to be stored, unless the user names it."""
    reads = ({"sparkplug": "plant/cell", "adopt": True},
             {"sparkplug": "plant/cell", "machine": "n", "signals": [{"name": "jog", "metric": "Jog"}]})  # fmt: skip
    bed = Bed(reads)
    edge = Edge(bed)
    rows = edge.nbirth(number("Jog", 1.0, 0, is_transient=True), number("Load", 2.0, 1))
    assert sorted(said(rows)) == [("m/Load", 2.0), ("n/jog", 1.0)]


@pytest.mark.parametrize(("number_", "quality"), [(192, q.GOOD), (0, q.BAD), (500, q.UNCERTAIN_LAST_USABLE), (64, q.UNCERTAIN)])  # fmt: skip
def test_quality_is_a_property(number_: int, quality: int) -> None:
    """tck-id-payloads-propertyset-quality-value-value: Int32 of 0, 192 or 500; absent is good."""
    bed = Bed()
    (row,) = living(bed).ddata(
        number(None, 5.0, 1, properties={"Quality": Property(DataType.INT32, number_)})
    )
    assert (row.value, row.quality) == (5.0, quality)


def test_the_engineering_unit_becomes_the_unit() -> None:
    """6.4.8: of an adopted point; a listed one has the unit that the configuration says."""
    reads = ({"sparkplug": "plant/cell", "adopt": True, "signals": [{"name": "speed", "metric": "Speed", "unit": "r/min"}]},)  # fmt: skip
    bed = Bed(reads)
    unit = {"engUnit": Property(DataType.STRING, "kN")}
    Edge(bed).nbirth(number("Load", 1.0, 0, properties=unit), number("Speed", 2.0, 1, properties=unit))
    assert {(p.name, p.unit) for p in bed.registry.since(0)} == {("Load", "kN"), ("speed", "r/min")}


# --- who reads


def test_several_machines_read_one_node() -> None:
    """Issue 7: one state per node, whoever reads of it."""
    bed = Bed([{"machine": f"m{n}", "sparkplug": "plant/cell/press", "adopt": True} for n in (1, 2)])
    assert sorted(said(living(bed).ddata(number(None, 5.0, 1)))) == [("m1/Force", 5.0), ("m2/Force", 5.0)]
    assert bed.routes.filters == {"spBv1.0/plant/+/cell/#": 1}


def test_every_device_by_one_entry() -> None:
    """group/node/+: the device becomes a tag."""
    bed = Bed([{"sparkplug": "plant/cell/+", "adopt": True}])
    living(bed)
    assert [(p.name, p.tags) for p in bed.registry.since(0)] == [("Force", {"device": "press"}), ("Stroke", {"device": "press"})]  # fmt: skip


def test_adoption_is_bounded() -> None:
    """adopt_limit counts metrics as every other name that strangers choose."""
    bed = Bed(limit=2)
    living(bed)
    assert bed.registry.version == 2
    assert len(bed.refused) == 1


# --- restarts


def test_aliases_survive_a_restart() -> None:
    """Issue 7: births are kept, because nobody repeats them (aliases: trusting)."""
    bed = Bed(strict=False)
    edge = living(bed)
    bed.restart()
    assert said(edge.ddata(number(None, 5.0, 1))) == [("m/Force", 5.0)]
    assert bed.rows[-1].quality == q.GOOD
    assert said(edge.ndeath()) == [("m/Load", None), ("m/Force", None), ("m/Stroke", None)]
    bed.restart()
    assert edge.ndata(number(None, 5.0, 0)) == []


def test_without_the_brokers_session_a_death_may_have_been_missed() -> None:
    """The broker queues NDEATH (QoS 1) for a session that it keeps; without it aliases are in doubt."""
    bed = Bed(strict=False)
    edge = living(bed)
    bed.restart(continued=False)
    assert edge.ddata(number(None, 5.0, 1))[0].quality == q.UNCERTAIN
    edge.dbirth(number("Force", 5.0, 1))
    assert edge.ddata(number(None, 6.0, 1))[0].quality == q.GOOD


def test_what_waits_for_an_earlier_message_survives_a_restart() -> None:
    """M14: a message that waits is acknowledged, so it must be in the checkpoint."""
    bed = Bed(strict=False)
    edge = living(bed)
    edge.seq += 1
    edge.ddata(number(None, 7.0, 1))
    bed.restart()
    assert [row.value for row in bed.wait(3)] == [7.0]


@pytest.mark.parametrize("strict", [True, False])
def test_two_losses_within_one_patience_are_two(strict: bool) -> None:
    """M14: what waits behind the second is no stray because what waited behind the first had its turn."""
    bed = Bed(strict=strict)
    edge = living(bed)
    for first in (1.0, 3.0):
        edge.make("DDATA", [number(None, 0.0, 1)], "press")
        edge.ddata(number(None, first, 1))
        edge.ddata(number(None, first + 1, 1))
    assert [row.value for row in bed.wait(3)] == ([] if strict else [1.0, 2.0, 3.0, 4.0])
    assert node(bed).counts == {"out of order": 4, "lost messages": 2}
    lost = [gap.detail for gap in bed.host.gaps if gap.reason == "sparkplug_messages_lost"]
    assert [detail.split(": ")[1] for detail in lost] == [
        "1 message from seq 2 on never came", "1 message from seq 5 on never came"]  # fmt: skip
    assert len(bed.refused) == (4 if strict else 0)


def test_births_that_are_too_large_for_the_checkpoint_take_nothing_else_with_them() -> None:
    """M14: what waits is not lost then, and neither is where the numbers stand, nor another node."""
    bed = Bed([*HERE, {"sparkplug": "plant/other", "adopt": True}], limit=20_000)
    edge = living(bed, *(number(f"{n:0100d}", 1.0, 10 + n) for n in range(6000)))
    other = SPEC.payload(Said([number("Near", 1.0, 1)], timestamp=T0, seq=0))
    bed.hear("spBv1.0/plant/NBIRTH/other", other)
    edge.seq += 1
    edge.ddata(number("Force", 7.0))
    assert len(bed.host.dump()) < 600_000
    bed.restart()
    assert not bed.host.seats["plant", "cell"].node.alive
    assert bed.host.seats["plant", "other"].node.alive
    assert [row.value for row in edge.ndata(number("Load", 8.0))] == [7.0, 8.0]
    assert [gap.reason for gap in bed.host.gaps] == ["sparkplug_messages_lost"]


def test_units_of_births_are_bounded_with_the_metrics() -> None:
    """B7: a birth that says another unit makes another series."""
    bed = Bed(limit=3)
    edge = Edge(bed)
    for n in range(5):
        edge.nbirth(number("Load", float(n), 0, properties={"engUnit": Property(DataType.STRING, f"u{n}")}))
    assert [row.value for row in bed.rows] == [0.0, 1.0, 2.0]
    assert len(bed.refused) == 2
    assert "adopt_limit" in bed.refused[0]


@pytest.mark.parametrize("former", [False, True])
def test_a_repeated_message_is_one_after_a_restart_too(former: bool) -> None:
    """Issue 7: what was heard last stands in the checkpoint; `former`: as versions before wrote it, who are updated from."""
    bed = Bed(strict=False)
    edge = living(bed)
    topic, payload = edge.make("DDATA", [number(None, 7.0, 1)], "press")
    bed.hear(topic, payload)
    blob = bed.host.dump()
    if former:
        stored = msgspec.msgpack.decode(blob[4:])
        stored[5] = [("DDATApress", zlib.crc32(payload))]
        part = msgspec.msgpack.encode(stored[:12])
        blob = len(part).to_bytes(4, "big") + part
    bed.routes = bed.fresh()
    bed.host.restore(blob, 0.0, continued=True)
    assert bed.hear(topic, payload) == []
    assert node(bed).counts == {"repeated": 1}


# --- dialects


def test_retained_births_tell_names_and_are_not_now() -> None:
    """Dialect: a broker or bridge kept a birth, which may have outlived its edge."""
    bed = Bed(strict=False)
    edge = Edge(bed)
    topic, payload = edge.make("NBIRTH", [number("Load", 1.0, 0)])
    (row,) = bed.hear(topic, payload, retain=True)
    assert row.flags & Flag.RETAINED
    assert not node(bed).alive
    assert edge.ndata(number(None, 2.0, 0))[0].quality == q.UNCERTAIN
    edge.nbirth(number("Load", 1.0, 0))
    assert edge.ndata(number(None, 3.0, 0))[0].quality == q.GOOD
    bed.hear(topic, payload, retain=True)
    assert edge.ndata(number(None, 3.0, 0))[0].quality == q.GOOD


def test_a_birth_older_than_the_one_before_is_doubted() -> None:
    """Dialect: a copy that comes too late; its aliases may be of another time."""
    bed = Bed(strict=False)
    edge = living(bed)
    old = edge.make(
        "DBIRTH", [number("Stroke", 1.0, 1)], "press", timestamp=T0 - 5000, seq=(edge.seq + 1) % 256
    )
    edge.seq += 1
    bed.hear(*old)
    assert edge.ddata(number(None, 3.0, 1))[0].quality == q.UNCERTAIN


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("spBv1.0/plant/NCMD/cell", []),
        ("spBv1.0/plant/DCMD/cell/press", []),
        ("spBv1.0/plant/NBIRTH/cell/press", []),
        ("spBv1.0/plant/XDATA/cell", []),
    ],
)
def test_what_is_not_said_to_hosts_is_nothing(topic: str, expected: list[Row]) -> None:
    """4.x: commands go to edges; the host hears them and holds its peace."""
    bed = Bed()
    assert bed.hear(topic, b"\xff\xff") == expected
    assert bed.refused == []


HOSTILE: list[tuple[bytes, str]] = [
    (b"", "an empty message"),
    (b"\xff\xfe{not protobuf}", "no protobuf"),
    (b"\x12\x40\x0a", "no protobuf"),
    (b"\x12\x00" * 10_001, "more than 10000 metrics"),
    (b"\x0b\x0c" + b"\x12\x00" * 20_000, "more than 10000 metrics"),
    (b"\x12\x04\x0a\x02\xff\xfe\x18\x02", "not UTF-8"),
]


@pytest.mark.parametrize(("payload", "reason"), HOSTILE)
def test_hostile_bytes_are_refused_by_name(payload: bytes, reason: str) -> None:
    """M13, M14: nothing that a stranger sends is an exception or silence."""
    bed = Bed()
    assert bed.hear("spBv1.0/plant/NDATA/cell", payload) == []
    assert reason in bed.refused[0]


def _unpacks_to(size: int, pack: Callable[[bytes], bytes]) -> bytes:
    from tests.mqtt.sparkplug.bed import SPEC

    algorithm = Metric("algorithm", datatype=DataType.STRING, value="DEFLATE")
    from simulators.sparkplug.model import Payload

    return SPEC.payload(Payload([algorithm], uuid="SPBV1.0_COMPRESSED", body=pack(bytes(size))))


@pytest.mark.parametrize("size", [200_000, 9 << 20])
def test_a_compressed_bomb_is_not_unpacked(size: int) -> None:
    """M13: at most 8 MiB and 100 times its size."""
    import zlib

    bed = Bed()
    bed.hear("spBv1.0/plant/NDATA/cell", _unpacks_to(size, zlib.compress))
    assert bed.refused == ["unpacks to more than 8 MiB, or more than 100 times its size"]
