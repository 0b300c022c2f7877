"""Reading seeded bugs and applying them to a copy of the code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
PATCHES = Path(__file__).parent
CODE = ("adapters", "collector", "config", "pipelines", "simulators", "benchmarks")


class Seed(NamedTuple):
    """title: what is wrong. caught_by: pytest ids, of which at least one must fail. diff: what is done to the code."""

    name: str
    title: str
    caught_by: tuple[str, ...]
    diff: str


def read(path: Path) -> Seed:
    head, mark, diff = path.read_text(encoding="utf-8").partition("--- a/")
    title = head.splitlines()[0].strip()
    named = tuple(re.findall(r"^Caught-by: *(\S.*?)\s*$", head, re.MULTILINE))
    return Seed(path.stem, title, named, mark + diff)


def copy_of_the_code(folder: Path) -> None:
    leave = shutil.ignore_patterns("__pycache__", ".*_cache")
    for package in (*CODE, "tests"):
        shutil.copytree(ROOT / package, folder / package, ignore=leave)
    shutil.copy(ROOT / "pyproject.toml", folder)


def applied(seed: Seed, folder: Path, *, loosely: bool = False) -> str:
    """'' if the bug is in the copy now, else why not. loosely: also where the surroundings have changed."""
    command = ["git", "apply", *(["-C1", "--recount"] if loosely else []), "-"]
    done = subprocess.run(command, cwd=folder, input=seed.diff, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def text_of(seed: Seed, diff: str) -> str:
    return "\n".join([seed.title, *(f"Caught-by: {test}" for test in seed.caught_by), "", diff])
