"""kill -9 at any moment (P1): everything whose append returned is there, nothing is invented, and the books balance.

The oracle is outside: the children say in a file what is safe, a process that forked them kills them, and this one then
looks at what is left. JOURNAL_KILLS says how often (200; `make torture` asks for 1,000).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL
from statistics import median

import pytest

from adapters.clock import SystemClock
from collector.journal.sqlite import open_journal
from tests.journal.child import STRIDE
from tests.journal.nursery import Nursery
from tests.journal.oracle import Oracle, check

KILLS = int(os.environ.get("JOURNAL_KILLS", "200"))
SHARDS = 4
READY = 2.0 if os.environ.get("SHOPFLOOR_LONG") == "1" else 60.0
"""s, the 99th percentile: no start waits for anything. How fast one is stands in benchmarks/README.md."""


def everybody_worked(oracle: Oracle) -> bool:
    """Every source has appended, and every follower has committed."""
    appended = [end > n * STRIDE for n, end in enumerate(oracle.appended.values())]
    return all([*appended, oracle.committed["sink"], oracle.committed["archive"]])


@pytest.mark.timeout(300 + 4 * KILLS)
@pytest.mark.parametrize("shard", range(SHARDS))
async def test_p1_everything_acknowledged_survives_kill_9(
    tmp_path: Path, shard: int, record_property: Callable[[str, object], None]
) -> None:
    """P1: uniformly between the beginning of the start and 150 ms later (three starts on a slow computer), on one journal in a row."""
    path, oracle = tmp_path / "journal.db", Oracle()
    dice = random.Random(f"{os.environ.get('SEED', '7')}-{shard}")
    with Nursery() as nursery:
        for kill in range(2 * KILLS // SHARDS):
            if kill >= KILLS // SHARDS and everybody_worked(oracle):
                break
            latest = max(0.15, 3 * median(oracle.ready or [0.0]))
            # Where nobody has got so far in all these lives, the computer is busy, and lives are longer.
            latest *= 2 ** min(6, max(0, kill - KILLS // SHARDS))
            assert nursery.death(path, dice.randrange(2**32), after=dice.uniform(0, latest)) == -SIGKILL
            oracle.listen(path)
            await check(path, oracle)
    assert everybody_worked(oracle), "too little happened to show anything"
    async with open_journal(path, followers=["sink"], clock=SystemClock()) as journal:
        assert (await journal.ledger()).tail >= oracle.committed["sink"]
    p99 = sorted(oracle.ready)[int(len(oracle.ready) * 0.99)]
    record_property("ready_p99_s", p99)  # without the imports: the children are forked
    assert p99 <= READY
