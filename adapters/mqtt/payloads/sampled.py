"""Lists whose places are samples of one signal, each with a time: counted from a start, listed beside, or in pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from adapters.mqtt.paths import parse_path
from adapters.mqtt.payload_layouts import Samples
from adapters.mqtt.payloads.document import MISSING, getter
from adapters.mqtt.times import FACTORS, LATEST

Sample = tuple[int | None, Any]
UNPAIRED = object()  # a value that row_of refuses


class Sampler:
    """Gives every value of a list its time. when: reads a time as the payload writes it."""

    def __init__(self, samples: Samples, when: Callable[[Any], int | None]) -> None:
        self.when, self.pairs = when, samples.pairs
        self.start = getter(parse_path(samples.start)) if samples.start else None
        self.times = getter(parse_path(samples.times)) if samples.times else None
        self.interval = getter(parse_path(samples.interval)) if samples.interval else None
        self.factor = FACTORS[samples.interval_unit]
        self.every = round((samples.every or 0) * 1e9)

    def samples(self, values: Any, record: Any, document: Any, at: int | None) -> Iterable[Sample] | str:
        """The values with their times (None: not readable), or why there are none. at: the time of the record."""
        if type(values) is not list:
            return "no list of samples where one was expected"
        if self.pairs:
            return [self._pair(item) for item in values]
        if self.times is not None:
            times = _either(self.times, record, document)
            if type(times) is not list or len(times) != len(values):
                return "the list of times is missing or not as long as the list of values"
            return [(self.when(time), value) for time, value in zip(times, values, strict=True)]
        step = self._step(record, document)
        if step is None:
            return "no interval between the samples: a number above zero was expected"
        start = at if self.start is None else self.when(_either(self.start, record, document))
        if start is None:
            return [(None, value) for value in values]
        if abs(start) + step * len(values) > LATEST:
            return "samples beyond the year 2262"
        return [(start + round(n * step), value) for n, value in enumerate(values)]

    def _pair(self, item: Any) -> Sample:
        if type(item) is not list or len(item) != 2:
            return None, UNPAIRED
        return self.when(item[0]), item[1]

    def _step(self, record: Any, document: Any) -> float | None:
        """Ns from one sample to the next; whole numbers stay exact however many samples there are."""
        if self.interval is None:
            return self.every
        found = _either(self.interval, record, document)
        if type(found) not in (int, float) or not 0 < found < 1e18:
            return None
        return found * self.factor if isinstance(found, int) else float(found * self.factor)


def _either(get: Any, record: Any, document: Any) -> Any:
    value = get(record)
    return get(document) if value is MISSING else value
