"""The tests are tried: each known bug in this folder, applied to a copy of the code, must be caught by the tests it names.

A patch is a unified diff; the lines before it say what the bug is and, after `Caught-by:`, which tests must fail. Code moves
on: a patch that no longer applies fails here, and `python -m tests.seeded.refresh` puts right what has only moved.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.journal.starting import memory
from tests.seeded.patches import PATCHES, Seed, applied, copy_of_the_code, read

SECONDS = 20
"""For one test: a bug may make it wait for ever, and waiting for ever is noticing."""

WAITED = "+ Timeout +"
"""What pytest-timeout writes when it ends the process; no summary follows."""

ENOUGH = 800
"""s for all of them: a busy machine is slow, and a limit costs nothing where it is not reached."""

LONG = os.environ.get("SHOPFLOOR_LONG") == "1"


def seeds() -> list[Path]:
    return sorted(PATCHES.glob("*.patch"))


def test_there_are_twenty() -> None:
    assert len(seeds()) >= 20


@pytest.mark.timeout(ENOUGH + 100)
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
    assert noticed(done.stdout), done.stdout[-3000:]


def noticed(said: str) -> bool:
    """By the summary, behind which the interpreter may still say something of its own end."""
    return re.search(r"^(=+ )?\d+ failed\b", said, re.MULTILINE) is not None or WAITED in said


def run(seed: Seed, folder: Path, seconds: int = SECONDS) -> subprocess.CompletedProcess[str]:
    """The named tests in a process of their own, which a thread ends when one of them waits for ever.

    Not by a signal, as elsewhere: what a signal's handler raises between two steps of an event loop is swallowed there, together
    with the wake-up that was under way, and a test that nothing wakes any more does not end (about 1 in 200).
    """
    options = [
        "-q",
        "-n0",
        "-x",
        "-p",
        "no:cacheprovider",
        "--hypothesis-profile=seeded",
        f"--timeout={seconds}",
        "--timeout-method=thread",
    ]
    with (
        tempfile.TemporaryDirectory(prefix="seeded-", dir=memory()) as ram,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "pytest", *options, *seed.caught_by],
            cwd=folder,
            env=os.environ
            | {"PYTHONPATH": str(folder), "CI": "", "PYTHONDONTWRITEBYTECODE": "1", "SHOPFLOOR_MEMORY": ram},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # what a test had started when its time was up is ended with it
        ) as process,
    ):
        try:
            said, _ = process.communicate(timeout=ENOUGH)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(process.args, process.returncode, said)


@pytest.mark.timeout(ENOUGH + 100)
def test_without_a_bug_the_named_tests_pass(tmp_path: Path) -> None:
    """The other half of the proof: in the copy they fail because of the bug, and not because of the copy.

    One test of each folder shows that the copy is whole; the others pass beside this one, in the tree that was copied.
    """
    copy_of_the_code(tmp_path)
    named = sorted({test for path in seeds() for test in read(path).caught_by})
    first = {Path(test.partition("::")[0]).parent: test for test in reversed(named)}
    done = run(Seed("none", "no bug", tuple(named if LONG else first.values()), ""), tmp_path, 200)
    assert done.returncode == 0, done.stdout[-3000:]
