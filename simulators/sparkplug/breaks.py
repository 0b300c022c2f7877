"""Rules of Sparkplug B, each broken once and on purpose, on an edge that is connected and born.

Each takes the edge, does its wrong, and leaves an edge that goes on by the rules: what a host makes of that is the test.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from simulators.sparkplug.cell import Signal
from simulators.sparkplug.edge import Edge, Message, Named, now_ms
from simulators.sparkplug.model import DataSet, DataType, Metric, Payload, Template

Break = Callable[[Edge], None]
NOBODY: Final = 999_999  # an alias that no birth gives


def _device(edge: Edge) -> str:
    return next((name for name in edge.cell.devices if name), "")


def _kind(edge: Edge) -> str:
    return "DDATA" if _device(edge) else "NDATA"


def _fresh(edge: Edge, number: int = 1) -> list[Signal]:
    """So many metrics of the first device, each with a new value now."""
    changed = edge.cell.step(now_ms(), 0.0)
    device = _device(edge)
    first = list(changed[device]) if device else edge.cell.devices[""][1:]
    others = [each for each in edge.cell.devices[device] if each not in first]
    return (first + others)[:number]


def _named(edge: Edge, signals: list[Signal], **more: Any) -> list[Named]:
    return [(each.name, replace(edge.metric(each, birth=False), **more)) for each in signals]


def _data(edge: Edge, **more: Any) -> Message:
    return edge.make(_kind(edge), _device(edge), _named(edge, _fresh(edge)), **more)


def _say(edge: Edge, metrics: list[Named], why: str = "", **more: Any) -> None:
    edge.send(edge.make(_kind(edge), _device(edge), metrics, unreadable=why, **more))


def _changed(edge: Edge, why: str = "", **more: Any) -> None:
    _say(edge, _named(edge, _fresh(edge), **more), why)


def seq_gap(edge: Edge) -> None:
    """A message takes its number and is never sent"""
    _data(edge)


def out_of_order(edge: Edge) -> None:
    """Two messages change places"""
    first, second = _data(edge), _data(edge)
    edge.send(second)
    edge.send(first)


def duplicate(edge: Edge) -> None:
    """A message is sent twice, with the same number"""
    message = _data(edge)
    edge.send(message)
    edge.send(message)


def data_before_birth(edge: Edge) -> None:
    """Data of a node after its NDEATH, before the next NBIRTH; then it is born again"""
    edge.send(Message(edge.topic("NDEATH"), edge.death(edge.bd_seq), edge.place.node))
    edge.book.note("death", machine=edge.place.node, bd_seq=edge.bd_seq)
    _changed(edge, "data before birth")
    edge.birth()


def device_data_before_birth(edge: Edge) -> None:
    """Data of a device after its DDEATH; then it is born again"""
    edge.device_death(_device(edge))
    _changed(edge, "the device is dead")
    edge.send(edge.make("DBIRTH", _device(edge), edge.birth_metrics(_device(edge))))


def missing_device_birth(edge: Edge) -> None:
    """The node is born again without its devices, and goes on with data of a device"""
    edge.seq = -1
    edge.send(edge.make("NBIRTH", "", edge.birth_metrics("")))
    edge.spoiled.update({device: "no DBIRTH since the last NBIRTH" for device in edge.cell.devices if device})
    _changed(edge)


def unknown_device(edge: Edge) -> None:
    """Data of a device that was never born"""
    named = [("speed", Metric("speed", timestamp=now_ms(), datatype=DataType.DOUBLE, value=1.5))]
    edge.send(edge.make("DDATA", "stranger", named, unreadable="the device was never born"))


def old_death(edge: Edge) -> None:
    """The will of a connection before arrives late: an NDEATH with an old bdSeq"""
    old = (edge.bd_seq - 1) % 256
    edge.send(Message(edge.topic("NDEATH"), edge.death(old), edge.place.node))


def alias_unknown(edge: Edge) -> None:
    """An alias that no birth gave"""
    _changed(edge, "alias unknown", name=None, alias=NOBODY)


def alias_reused(edge: Edge) -> None:
    """A birth that gives two metrics one alias, then data by it"""
    metrics = edge.birth_metrics(_device(edge))
    shared = metrics[0][1].alias if metrics[0][1].alias is not None else NOBODY
    doubled = [(name, replace(metric, alias=shared)) for name, metric in metrics]
    kind = "DBIRTH" if _device(edge) else "NBIRTH"
    why = "one alias for several metrics"
    edge.send(edge.make(kind, _device(edge), doubled, unreadable=why))
    edge.spoiled[_device(edge)] = why
    _changed(edge, name=None, alias=shared)


def name_and_alias(edge: Edge) -> None:
    """Data with both"""
    _say(edge, [(each.name, replace(edge.metric(each, birth=False), name=each.name, alias=each.alias)) for each in _fresh(edge)])  # fmt: skip


def neither(edge: Edge) -> None:
    """Data with neither name nor alias"""
    _changed(edge, "neither name nor alias", name=None, alias=None)


def new_metric(edge: Edge) -> None:
    """Data with a name that no birth has"""
    metric = Metric("Surprise", timestamp=now_ms(), datatype=DataType.DOUBLE, value=2.5)
    _say(edge, [("Surprise", metric)], "the metric was never born")


def wrong_datatype(edge: Edge) -> None:
    """Data with another datatype than in the birth"""
    _changed(edge, "another datatype than in the birth", datatype=int(DataType.STRING),
             encode_as=int(DataType.STRING), value="12,5", is_null=None)  # fmt: skip


def unknown_datatype(edge: Edge) -> None:
    """A datatype that does not exist"""
    _changed(edge, "no such datatype", datatype=99, encode_as=int(DataType.STRING), value="?", is_null=None)


def wrong_field(edge: Edge) -> None:
    """The value in another field than its datatype's"""
    double = next(each for each in edge.cell.devices[""] if each.datatype == DataType.DOUBLE)
    metric = replace(edge.metric(double, birth=False), value="a text", kind="string", timestamp=now_ms())
    edge.send(edge.make("NDATA", "", [(double.name, metric)], unreadable="a Double in string_value"))


def null_and_value(edge: Edge) -> None:
    """is_null and a value in one metric"""
    _say(edge, _named(edge, [each for each in _fresh(edge, 50) if each.value is not None][:1], is_null=True), "is_null and a value")  # fmt: skip


def no_value(edge: Edge) -> None:
    """Neither a value nor is_null"""
    _changed(edge, "neither value nor is_null", value=None, is_null=None)


def null(edge: Edge) -> None:
    """is_null, as the rules allow"""
    fresh = _fresh(edge)
    for signal in fresh:
        signal.value = None
    edge.data(_device(edge), fresh)


def historical(edge: Edge) -> None:
    """A value of an hour ago, marked so, as the rules allow"""
    _changed(edge, timestamp=now_ms() - 3_600_000, is_historical=True)


def old_unmarked(edge: Edge) -> None:
    """A value older than the one before, and not marked as historical"""
    _changed(edge, timestamp=now_ms() - 3_600_000)


def no_times(edge: Edge) -> None:
    """No timestamp anywhere"""
    _say(edge, _named(edge, _fresh(edge), timestamp=None), timestamp=None)


def no_seq(edge: Edge) -> None:
    """Data without seq"""
    _say(edge, _named(edge, _fresh(edge)), seq=None)


def ragged_dataset(edge: Edge) -> None:
    """A DataSet whose rows have too few and too many cells, and whose num_of_columns is wrong"""
    kinds = [DataType.STRING, DataType.INT32]
    table = DataSet(["a", "b"], kinds, [["x"], ["x", 1], ["x", 1, 2], []], announced=7)
    metric = Metric("Ragged", timestamp=now_ms(), datatype=DataType.DATASET, value=table)
    _say(edge, [("Ragged", metric)], "a ragged DataSet, never born")


def template_change(edge: Edge) -> None:
    """A birth whose template instance has other members than its definition"""
    inner = (Metric("torque", datatype=DataType.FLOAT, value=1.5),)
    metric = Metric("Motor", timestamp=now_ms(), datatype=DataType.TEMPLATE, value=Template(inner, ref="Motor"))  # fmt: skip
    kind = "DBIRTH" if _device(edge) else "NBIRTH"
    edge.send(edge.make(kind, _device(edge), [*edge.birth_metrics(_device(edge)), ("Motor", metric)]))


def _born_anew(edge: Edge) -> Message:
    """The birth of the first device with all aliases moved by one."""
    signals, kind = edge.cell.devices[_device(edge)], "DBIRTH" if _device(edge) else "NBIRTH"
    aliases = [each.alias for each in signals]
    for signal, alias in zip(signals, aliases[1:] + aliases[:1], strict=True):
        signal.alias = alias
    return edge.make(kind, _device(edge), edge.birth_metrics(_device(edge)))


def changed_birth(edge: Edge) -> None:
    """A device is born again with all aliases moved by one and nobody was told to forget the old ones"""
    edge.send(_born_anew(edge))
    _changed(edge)


def lost_birth(edge: Edge) -> None:
    """The same, and the birth takes its number and is never sent"""
    _born_anew(edge)
    _changed(edge)


def retained_birth(edge: Edge) -> None:
    """A retained copy of the NBIRTH, which outlives the edge"""
    message = edge.make("NBIRTH", "", edge.birth_metrics(""), seq=0)
    edge.seq = 0
    edge.send(replace(message, retain=True))
    for device in filter(None, edge.cell.devices):
        edge.send(edge.make("DBIRTH", device, edge.birth_metrics(device)))


def rebirth(edge: Edge) -> None:
    """Births that nobody asked for, as the rules allow"""
    edge.birth()


def device_death(edge: Edge) -> None:
    """A device goes and comes back, as the rules allow"""
    edge.device_death(_device(edge))
    edge.send(edge.make("DBIRTH", _device(edge), edge.birth_metrics(_device(edge))))


def compressed(edge: Edge) -> None:
    """One message in Tahu's envelope whose body is not what it says"""
    body = Payload([Metric("algorithm", datatype=DataType.STRING, value="GZIP")],
                   uuid="SPBV1.0_COMPRESSED", body=b"no gzip")  # fmt: skip
    topic, machine = edge.topic(_kind(edge), _device(edge)), _device(edge) or edge.place.node
    edge.next_seq()
    edge.send(Message(topic, edge.encoder.payload(body), machine, unreadable="the envelope's body is no gzip"))  # fmt: skip


def truncated(edge: Edge) -> None:
    """A payload that ends in the middle"""
    message = _data(edge)
    edge.send(replace(message, payload=message.payload[: len(message.payload) // 2], unreadable="truncated"))


def garbage(edge: Edge) -> None:
    """Bytes that are no protobuf at all"""
    topic = edge.topic(_kind(edge), _device(edge))
    edge.send(Message(topic, b"\xff\xfe{not protobuf}", _device(edge), unreadable="no protobuf"))


def empty(edge: Edge) -> None:
    """A payload of no bytes, as who deletes retained messages sends"""
    topic = edge.topic(_kind(edge), _device(edge))
    edge.send(Message(topic, b"", _device(edge), unreadable="empty"))


def lost(edge: Edge) -> None:
    """The connection is lost; the broker speaks the will, if there is one"""
    edge.lose()


BREAKS: Final[Mapping[str, Break]] = {
    act.__name__.replace("_", "-"): act
    for act in (
        seq_gap, out_of_order, duplicate, no_seq, data_before_birth, device_data_before_birth, missing_device_birth,
        unknown_device, old_death, alias_unknown, alias_reused, name_and_alias, neither, new_metric, changed_birth, lost_birth,
        wrong_datatype, unknown_datatype, wrong_field, null_and_value, no_value, null, historical, old_unmarked, no_times,
        ragged_dataset, template_change, retained_birth, rebirth, device_death, compressed, truncated, garbage, empty, lost,
    )
}  # fmt: skip
"""By the name that the command line knows; the docstring says what it does."""


def break_rule(edge: Edge, name: str) -> None:
    """Do it, and write into the truth that it was on purpose."""
    edge.book.note("broken", rule=name)
    BREAKS[name](edge)
