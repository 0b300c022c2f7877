"""A document that holds more than one value for each signal: records in a list, samples in a list, names beside values.

Time, quality, unit and name are looked up in the record first and in the document second, because senders put what is the
same for all records outside. A record that is no object, lacks its name or holds none of the wanted values is refused by
itself; the others count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from adapters.mqtt.paths import Path, parse_path, spell
from adapters.mqtt.payload_settings import DocumentPayload
from adapters.mqtt.payloads.document import MISSING, Parse, getter, leaves, row_of
from adapters.mqtt.payloads.sampled import Sampler
from adapters.mqtt.payloads.shape import MOST, Decode, Decoded, Out, Row, Series, refusal
from adapters.mqtt.payloads.status import Status, unit_of
from pipelines import quality as q


class Plan:
    """What to take from a document. places: the paths of the listed signals; None: every value, under its path.

    wanted: with a name in the record, which names are taken; None: all.
    """

    def __init__(
        self, payload: DocumentPayload, places: Sequence[Path] | None, wanted: frozenset[str] | None
    ) -> None:
        self.each = getter(parse_path(payload.each)) if payload.each is not None else None
        self.path = payload.each or "the document"
        self.name = getter(parse_path(payload.name)) if payload.name else None
        self.value, self.wanted = getter(parse_path(payload.value)), wanted
        self.places = (
            None if places is None else [(number, getter(path)) for number, path in enumerate(places)]
        )
        self.clock = _optional(payload.time)
        self.when = payload.when()
        self.status = Status(payload.quality) if payload.quality else None
        self.grade = _optional(payload.quality.value) if payload.quality else None
        self.unit = _optional(payload.unit_from)
        self.sampler = Sampler(payload.samples, self.when) if payload.samples else None
        self.known = frozenset(_known(payload))
        self.looked = ", ".join(spell(path) or "(the record)" for path in places or ())


def _known(payload: DocumentPayload) -> Iterator[Path]:
    """The places that are no values when everything is adopted."""
    quality = payload.quality.value if payload.quality else ""
    times = (
        (payload.samples.start, payload.samples.interval, payload.samples.times) if payload.samples else ()
    )
    for text in (payload.time, payload.unit_from, quality, *times):
        if text:
            yield parse_path(text)


def _optional(path: str) -> Any:
    return getter(parse_path(path)) if path else None


def recording(parse: Parse, plan: Plan) -> Decode:
    """The decoder of such documents."""

    def decode(payload: bytes) -> Decoded:
        document = parse(payload)
        if isinstance(document, Decoded):
            return document
        records = [document] if plan.each is None else plan.each(document)
        if type(records) is not list:
            return refusal(f"no list of records at {plan.path}")
        out = Out()
        for record in records:
            _read(plan, record, document, out)
            if out.seen > MOST:
                break
        return out.decoded()

    return decode


def _read(plan: Plan, record: Any, document: Any, out: Out) -> None:
    found = _found(plan, record, document)
    if isinstance(found, str):
        out.seen += 1
        out.refuse(found)
        return
    unit = unit_of(_either(plan.unit, record, document)) if plan.unit else ""
    quality = plan.status.of(_either(plan.grade, record, document)) if plan.status else q.GOOD
    at = plan.when(_either(plan.clock, record, document)) if plan.clock else None
    for name, value in found:
        key = Series(name, unit) if unit else name
        if plan.sampler is None:
            out.seen += 1
            _add(key, value, at, quality, out)
            continue
        _samples(plan.sampler, (record, document), (key, value, at, quality), out)


def _found(plan: Plan, record: Any, document: Any) -> Sequence[tuple[int | str, Any]] | str:
    """The values of a record by their keys, or why there are none; nothing, where other signals are meant."""
    if plan.name is not None:
        return _named(plan, record, document)
    if plan.places is not None:
        listed = [(number, value) for number, get in plan.places if (value := get(record)) is not MISSING]
        return listed or f"a record with none of the configured values ({plan.looked})"
    if type(record) is not dict:
        return "a record that is not an object"
    stop = plan.sampler is not None
    adopted = [
        (spell(path), value)
        for path, value in islice(_leaves(record, lists=not stop), MOST + 1)
        if path not in plan.known and (not stop or type(value) is list)
    ]
    return adopted or "a record without values"


def _leaves(record: Mapping[str, Any], *, lists: bool) -> Iterator[tuple[Path, Any]]:
    """lists: as objects of numbered places; else as values, because their places are samples."""
    if lists:
        yield from leaves(record)
        return
    for key, value in record.items():
        if type(value) is dict:
            yield from ((path, item) for path, item in _flat(value, (key,)))
        else:
            yield (key,), value


def _flat(record: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    rest: list[tuple[Path, Any]] = [(path, record)]
    while rest:
        place, value = rest.pop()
        if type(value) is dict and len(place) < 32:
            rest.extend(((*place, key), item) for key, item in value.items())
        else:
            yield place, value


def _named(plan: Plan, record: Any, document: Any) -> Sequence[tuple[str, Any]] | str:
    name = _either(plan.name, record, document)
    if type(name) is int:
        name = str(name)
    if type(name) is not str or not name:
        return "a record without its name"
    if plan.wanted is not None and name not in plan.wanted:
        return ()
    value = plan.value(record)
    return "a record without its value" if value is MISSING else ((name, value),)


def _either(get: Any, record: Any, document: Any) -> Any:
    value = get(record)
    return get(document) if value is MISSING and document is not record else value


def _samples(sampler: Sampler, places: tuple[Any, Any], head: tuple[Any, ...], out: Out) -> None:
    """Every sample is a value of its own."""
    key, values, at, quality = head
    found = sampler.samples(values, *places, at)
    if isinstance(found, str):
        count = max(1, len(values)) if type(values) is list else 1
        out.seen += count
        out.refuse(found, count)
        return
    if type(values) is list:
        out.seen += len(values)
    if out.seen > MOST:
        return
    for moment, value in found:
        _add(key, value, moment, quality, out)


def _add(key: int | str | Series, value: Any, at: int | None, quality: int, out: Out) -> None:
    row = row_of(key, value, at)
    if not isinstance(row, Row):
        out.refuse(row.reason)
    elif quality != q.GOOD and row.kind is not None:
        out.rows.append(row._replace(quality=quality))
    else:
        out.rows.append(row)
