"""Puts right the seeded bugs whose surroundings have moved: `python -m tests.seeded.refresh`.

Each patch is applied loosely to a copy and written again as the exact difference; what does not apply even so is named,
and has to be thought about by a person.
"""

from __future__ import annotations

import difflib
import re
import sys
import tempfile
from pathlib import Path

from tests.seeded.patches import PATCHES, ROOT, Seed, applied, copy_of_the_code, read, text_of


def main() -> int:
    lost = [path.name for path in sorted(PATCHES.glob("*.patch")) if not refreshed(path)]
    sys.stdout.write(f"to be written anew: {', '.join(lost) or 'none'}\n")
    return 1 if lost else 0


def refreshed(path: Path) -> bool:
    seed = read(path)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        copy_of_the_code(folder)
        if applied(seed, folder, loosely=True):
            return False
        diff = difference(seed, folder)
    path.write_text(text_of(seed, diff), encoding="utf-8")
    return bool(diff)


def difference(seed: Seed, folder: Path) -> str:
    parts: list[str] = []
    for name in re.findall(r"^--- a/(\S+)", seed.diff, re.MULTILINE):
        before = (ROOT / name).read_text(encoding="utf-8").splitlines(keepends=True)
        after = (folder / name).read_text(encoding="utf-8").splitlines(keepends=True)
        parts += difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", n=2)
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(main())
