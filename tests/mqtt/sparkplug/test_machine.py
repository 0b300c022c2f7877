"""M14: any order of messages, losses, repetitions, restarts and rebirths that move aliases: no value stands under a wrong name.

Every metric says numbers of its own only (the metric with number k: k, k + 100, k + 200 …), so that a value under a wrong name shows
by itself, whatever the host made of it. The bed checks the books with every message.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipelines import quality as q
from simulators.sparkplug.model import Metric
from tests.mqtt.sparkplug.bed import Bed, Edge, number

NAMES = {"": ("Load", "Heat", "Speed"), "press": ("Force", "Stroke", "Count")}
OWN = {name: k for k, name in enumerate(name for names in NAMES.values() for name in names)}
LONG = int(os.environ.get("SPARKPLUG_EXAMPLES", "60"))
DEVICES = st.sampled_from(sorted(NAMES))


FAR = 50
"""Messages that may be lost in all. Births begin with a number that is further away from the next one: whoever loses as many as
lie between an old number and a new one sees no hole, and no host can know (decision 0009)."""


class Host(RuleBasedStateMachine):
    """strict, and passive: no value may stand under a wrong name, whatever its quality."""

    rebirth, strict = False, True
    believed: Sequence[int] = (q.GOOD, q.UNCERTAIN)

    def __init__(self) -> None:
        super().__init__()
        self.bed = Bed(rebirth=self.rebirth, strict=self.strict)
        self.edge = Edge(self.bed)
        self.wire: list[tuple[str, bytes]] = []
        self.old: list[tuple[str, bytes]] = []
        self.aliases = dict(OWN)
        self.n = 0
        self.lost = 0
        self.node_birth()

    def metric(self, name: str, how: str) -> Metric:
        self.n += 1
        alias = self.aliases[name] if how != "name" else None
        return number(name if how != "alias" else None, float(OWN[name] + 100 * self.n), alias)

    def queue(self, kind: str, metrics: list[Metric], device: str = "") -> None:
        self.wire.append(self.edge.make(kind, metrics, device))

    @rule()
    def node_birth(self) -> None:
        """With its device, as a rebirth is."""
        self.edge.seq = -1 if self.edge.seq < 0 or self.edge.seq > 2 * FAR else 127
        session = Metric("bdSeq", datatype=4, value=self.edge.bd_seq)
        self.queue("NBIRTH", [session, *(self.metric(name, "both") for name in NAMES[""])])
        self.device_birth()

    @rule()
    def device_birth(self) -> None:
        self.queue("DBIRTH", [self.metric(name, "both") for name in NAMES["press"]], "press")

    @rule()
    def moved_aliases_of_the_device(self) -> None:
        """Its birth alone tells; the node is not born again."""
        first, *others = NAMES["press"]
        turned = dict(zip((*others, first), [self.aliases[name] for name in NAMES["press"]], strict=True))
        self.aliases.update(turned)
        self.device_birth()

    @rule(shift=st.integers(1, 5))
    def moved_aliases(self, shift: int) -> None:
        """A rebirth after which every alias means another metric."""
        self.aliases = {name: (alias + shift) % len(OWN) for name, alias in self.aliases.items()}
        self.node_birth()

    @rule(shift=st.integers(1, 5), said=st.booleans())
    def another_connection(self, shift: int, said: bool) -> None:
        session = Metric("bdSeq", datatype=4, value=self.edge.bd_seq)
        if said:
            self.queue("NDEATH", [session])
        self.edge.bd_seq += 1
        self.moved_aliases(shift)

    @rule(device=DEVICES, how=st.sampled_from(["alias", "alias", "name"]), many=st.integers(1, 3))
    def data(self, device: str, how: str, many: int) -> None:
        self.queue(
            "DDATA" if device else "NDATA", [self.metric(name, how) for name in NAMES[device][:many]], device
        )

    @precondition(lambda self: self.wire)
    @rule(many=st.integers(1, 6))
    def deliver(self, many: int) -> None:
        for topic, payload in self.wire[:many]:
            self.bed.hear(topic, payload)
        self.old += self.wire[:many]
        del self.wire[:many]

    @precondition(lambda self: len(self.wire) > 1)
    @rule(data=st.data())
    def change_places(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.wire) - 2))
        self.wire[place : place + 2] = reversed(self.wire[place : place + 2])

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        if self.lost < FAR:
            self.wire.pop(data.draw(st.integers(0, len(self.wire) - 1)))
            self.lost += 1

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """One of the last messages again."""
        topic, payload = self.old[-1 - data.draw(st.integers(0, min(20, len(self.old)) - 1))]
        self.bed.hear(topic, payload)

    @rule(seconds=st.sampled_from([0.5, 3.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.bed.wait(seconds)

    @rule(continued=st.booleans())
    def restart(self, continued: bool) -> None:
        self.bed.restart(continued=continued)

    @invariant()
    def no_value_under_a_wrong_name(self) -> None:
        for row in self.bed.rows:
            if row.value is not None and row.quality in self.believed:
                assert int(row.value) % 100 == OWN[row.signal.removeprefix("m/")], row
        self.bed.rows.clear()


class Trusting(Host):
    """aliases: trusting, with rebirth: after a loss what is read by alias is uncertain, and that is all that is promised."""

    rebirth, strict = True, False
    believed = (q.GOOD,)


TestHost, TestTrusting = Host.TestCase, Trusting.TestCase
TestHost.settings = TestTrusting.settings = settings(
    max_examples=LONG, stateful_step_count=40, deadline=None, derandomize=LONG == 60, database=None
)
