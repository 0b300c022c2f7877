"""MQTT (QoS 1, JSON) and Sparkplug to buffer, history and VictoriaMetrics, beside scripts with paho and aiomqtt and `Point`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.collector import collector
from benchmarks.measure import START_UP, Subject, measure
from benchmarks.process import MEASURED, OTHERS, CannotMeasure, Child, child, python
from benchmarks.row import Row, Wish
from benchmarks.servers import Database, broker, database, program
from simulators.load.series import name_of

MACHINE = "m1"
GROUP = "load"
Start = Callable[[Path, str, Database], AbstractContextManager[Child]]


class Form(NamedTuple):
    """What is sent. heard: what the broker's log says when the subject has subscribed. values: in each message."""

    options: tuple[str, ...]
    heard: str
    values: int


def mqtt(wish: Wish) -> Iterator[Row]:
    """The collector's row, then the baselines', if they are wanted."""
    form = Form((f"--prefix={GROUP}/{MACHINE}",), f"{GROUP}/{MACHINE}/", wish.values or 1)
    yield _run("mqtt", partial(_collector, wish=wish, form=form), wish, form)
    if wish.baseline:
        for library in ("paho", "aiomqtt"):
            script = partial(_script, name=f"baseline_{library}", values=form.values)
            yield _run(f"mqtt {library}+Point", script, wish, form, baseline=True)


def sparkplug(wish: Wish) -> Iterator[Row]:
    """The collector's row: edge nodes that name their metrics by alias. No script beside it: none decodes Sparkplug."""
    options = (f"--prefix={GROUP}", "--form=sparkplug", "--qos=0")
    form = Form(options, "spBv1.0/", wish.values or 10)
    yield _run("sparkplug", partial(_collector, wish=wish, form=form), wish, form)


def _run(name: str, start: Start, wish: Wish, form: Form, *, baseline: bool = False) -> Row:
    program("victoria-metrics")
    program("mosquitto")
    if wish.variables % form.values:
        raise CannotMeasure(f"--variables {wish.variables} is no whole multiple of --values {form.values}.")
    with tempfile.TemporaryDirectory(prefix=f"bench-{name.split(maxsplit=1)[0]}-") as made:
        folder = Path(made)
        with database(folder) as store, broker(folder) as server, start(folder, server.url, store) as process:
            process.wait_for(
                lambda: form.heard in server.server.words(), START_UP, f"did not subscribe to {form.heard}"
            )
            with _load(folder, server.url, wish, form) as load:
                return measure(Subject(name, process, baseline, form.values), load, store, wish)


def _load(folder: Path, url: str, wish: Wish, form: Form) -> AbstractContextManager[Child]:
    topics = wish.variables // form.values
    options = [
        f"--broker={url}",
        f"--topics={topics}",
        f"--rate={topics * wish.hz}",
        f"--values={form.values}",
        f"--seconds={wish.seconds}",
        *form.options,
        "--settle=2",
        "--drain=60",
        "--stay",
    ]
    return child("load", python("-m", "simulators.load", "mqtt", *options), OTHERS, folder)


def _collector(
    folder: Path, url: str, store: Database, wish: Wish, form: Form
) -> AbstractContextManager[Child]:
    return collector(folder, {"type": "mqtt", "url": url}, reads(wish.variables, form), store.url, wish)


def reads(variables: int, form: Form) -> list[dict[str, Any]]:
    """Read entries: one for all topics of one value, else one for each topic or edge, whose values are numbered from 0."""
    if "--form=sparkplug" in form.options:
        return [
            {"sparkplug": f"{GROUP}/{name_of(edge)}", "signals": _signals(edge, form.values, "metric")}
            for edge in range(variables // form.values)
        ]
    payload = {"type": "json", "time": "ts"}
    if form.values == 1:
        signals = [{"name": name_of(variable), "value": "value"} for variable in range(variables)]
        return [{"topic": f"{GROUP}/{{machine}}/{{signal}}", "payload": payload, "signals": signals}]
    return [
        {
            "topic": f"{GROUP}/{{machine}}/{name_of(topic)}",
            "payload": payload,
            "signals": _signals(topic, form.values, "value"),
        }
        for topic in range(variables // form.values)
    ]


def _signals(message: int, values: int, key: str) -> list[dict[str, str]]:
    return [{"name": name_of(message * values + place), key: name_of(place)} for place in range(values)]


def _script(folder: Path, url: str, store: Database, name: str, values: int) -> AbstractContextManager[Child]:
    command = python("-m", f"benchmarks.{name}", url, store.url, f"{GROUP}/{MACHINE}/+", str(values))
    return child("baseline", command, MEASURED, folder)
