"""The tests are tried: each known bug in this folder, applied to a copy of the code, must be caught by the tests it names.

A patch is a unified diff; the lines before it say what the bug is and, after `Caught-by:`, which tests must fail. Code moves
on: a patch that no longer applies fails here, and `python -m tests.seeded.refresh` puts right what has only moved.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.seeded.patches import PATCHES, Seed, applied, copy_of_the_code, read

SECONDS = 20
"""For one test: a bug may make it wait for ever, and waiting for ever is noticing."""

LONG = os.environ.get("SHOPFLOOR_LONG") == "1"


def seeds() -> list[Path]:
    return sorted(PATCHES.glob("*.patch"))


def test_there_are_twenty() -> None:
    assert len(seeds()) >= 20


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", seeds(), ids=lambda path: path.stem)
def test_the_bug_is_caught(path: Path, tmp_path: Path) -> None:
    seed = read(path)
    assert seed.caught_by, f"{path.name} names no test"
    copy_of_the_code(tmp_path)
    problem = applied(seed, tmp_path)
    assert not problem, (
        f"{path.name} no longer applies; python -m tests.seeded.refresh, or write it anew:\n{problem}"
    )
    done = run(seed, tmp_path)
    # 1: tests failed. 0: nobody noticed. Others: the tests could not even be run, which is not noticing.
    assert done.returncode == 1, f"exit {done.returncode}: {seed.title}\n{done.stdout[-3000:]}"
    assert " failed" in done.stdout.splitlines()[-1], done.stdout[-3000:]


def run(seed: Seed, folder: Path, seconds: int = SECONDS) -> subprocess.CompletedProcess[str]:
    options = [
        "-q",
        "-n0",
        "-x",
        "-p",
        "no:cacheprovider",
        "--hypothesis-profile=seeded",
        f"--timeout={seconds}",
    ]
    return subprocess.run(
        [sys.executable, "-P", "-m", "pytest", *options, *seed.caught_by],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "CI": "", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=800 if LONG else 250,
        check=False,
    )


@pytest.mark.timeout(900 if LONG else 300)
def test_without_a_bug_the_named_tests_pass(tmp_path: Path) -> None:
    """The other half of the proof: in the copy they fail because of the bug, and not because of the copy.

    One test of each folder shows that the copy is whole; the others pass beside this one, in the tree that was copied.
    """
    copy_of_the_code(tmp_path)
    named = sorted({test for path in seeds() for test in read(path).caught_by})
    first = {Path(test.partition("::")[0]).parent: test for test in reversed(named)}
    done = run(Seed("none", "no bug", tuple(named if LONG else first.values()), ""), tmp_path, 200)
    assert done.returncode == 0, done.stdout[-3000:]
