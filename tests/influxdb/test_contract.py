"""The laws of a sink, over a real InfluxDB 1.x (API v1) and over the scripted server (API v2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from tests.contracts.sink import SinkContract, SinkRig
from tests.influxdb.rigs import FakeV2Rig, InfluxV1Rig


@pytest.mark.server("influxd")
class TestInfluxDbV1(SinkContract):
    CANNOT: ClassVar[Mapping[str, str]] = {
        "test_law_2_a_lost_answer_does_no_harm": "a real server loses no answer on request; the fake one does",
        "test_law_2_throttled_says_how_long": "a real server does not throttle on request; the fake one does",
    }

    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[SinkRig]:
        rig = await InfluxV1Rig(tmp_path).start()
        yield rig
        await rig.stop()


class TestInfluxDbV2(SinkContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[SinkRig]:
        rig = await FakeV2Rig().start()
        yield rig
        await rig.stop()
