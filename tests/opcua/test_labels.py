"""Display names, descriptions and ranges of a server reach whoever shows signals, and touch no value."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator

import pytest

from adapters.labels import Label
from tests.contracts.rig import eventually
from tests.opcua import encoder as enc
from tests.opcua.encoder import Array, Scalar
from tests.opcua.opened import opened
from tests.opcua.rows.bed import unanswered
from tests.opcua.scripted import Ignore, Script, Unsupported
from tests.opcua.scripted.codec.wire import NodeId
from tests.opcua.scripted.space import Ref
from tests.opcua.test_session import Line, begin
from tests.opcua.test_types import Types


@pytest.fixture
async def bed() -> AsyncIterator[Types]:
    async for made in opened(Types()):
        yield made


def called(bed: Types, node: str, name: str, description: str = "") -> None:
    variable = bed.server.space.variables[node]
    variable.display_name, variable.description = name, description


def extent(low: float, high: float) -> bytes:
    return b"\x16" + enc.extension(886, struct.pack("<dd", low, high))


async def test_what_the_server_says_is_told(bed: Types) -> None:
    bed.put("load", Scalar(11, 250.0), 11, unit="%")
    bed.put("named", Scalar(11, 1.0), 11, label="Mijn naam", range=[0, 300])
    bed.put("same", Scalar(11, 1.0), 11)
    bed.put("wave", Array(11, [1.0, 2.0]), 11, rank=1, array="elements")
    called(bed, "load", "Spindellast", "Van het\nnominale vermogen")
    called(bed, "named", "Theirs", "Hun woorden")
    called(bed, "same", "same")
    called(bed, "wave", "Druk", "Druk")
    for name in ("load", "named"):
        bed.property(bed.node(name), "EURange", extent(0.0, 200.0))
    bed.property(bed.node("same"), "EURange", extent(0.0, 0.0))
    labels = bed.labels
    line = await begin(bed)
    await eventually(lambda: labels.of("m", "wave[1]").label == "Druk [1]", "the words")
    assert labels.of("m", "load") == Label("Spindellast", "Van het nominale vermogen", (0.0, 200.0))
    assert labels.of("m", "named") == Label("Mijn naam", "Hun woorden", (0.0, 300.0), chosen=True)
    assert labels.of("m", "same") == Label()
    await eventually(lambda: line.values("load") == [250.0], "a range of the server's judges nothing")
    assert {tuple(bed.registry[n].tags) for n in range(bed.registry.version)} == {()}


async def test_findings_of_a_pattern_have_labels(bed: Types) -> None:
    """Each its own, or the pattern's with what the wildcard stands for."""
    for axis in ("X", "Y"):
        bed.put(f"pos{axis}", Scalar(11, 1.0), 11)
        called(bed, f"pos{axis}", f"Positie {axis}", "In mm")
        bed.server.space.tree[NodeId(0, 85)].append(Ref(bed.node(f"pos{axis}"), (3, f"Pos{axis}"), True))
    bed.signals.clear()
    bed.signals.append({"name": "axis_{1}", "path": "Pos*", "every": "10ms"})
    bed.signals.append({"name": "as_{1}", "path": "Po*", "label": "As {1}", "every": "10ms"})
    await begin(bed)
    await eventually(lambda: bed.labels.of("m", "as_sY").label == "As sY", "the words")
    assert bed.labels.of("m", "axis_X") == Label("Positie X", "In mm")
    assert bed.labels.of("m", "as_sX") == Label("As sX", "In mm", chosen=True)


async def test_a_node_that_comes_later_is_asked_about_too(bed: Types) -> None:
    bed.put("a", Scalar(11, 1.0), 11)
    bed.put("late", Scalar(11, 2.0), 11)
    called(bed, "late", "Laatkomer")
    bed.server.space.variables["late"].known = False
    line = await begin(bed)
    await eventually(lambda: line.values("a") == [1.0], "the other one")
    bed.server.space.variables["late"].known = True
    await eventually(lambda: bed.labels.of("m", "late").label == "Laatkomer", "the words")


@pytest.mark.parametrize("script", [Unsupported(["Browse"]), Ignore("Browse")])
async def test_without_browsing_there_are_names_and_values(bed: Types, script: Script) -> None:
    bed.server.scripts.append(script)
    bed.put("x", Scalar(11, 1.0), 11, unit="mm")
    called(bed, "x", "Positie")

    async def named() -> (
        Line
    ):  # browsing begins when the session is there, and its answer is not waited for in real time
        line = await begin(bed)
        await eventually(lambda: line.values("x") == [1.0], "the value")
        await eventually(lambda: bed.labels.of("m", "x").label == "Positie", "the name")
        return line

    line = await (unanswered(named(), script) if isinstance(script, Ignore) else named())
    assert bed.server.record.count("Browse") > 0
    assert not line.task.done()
