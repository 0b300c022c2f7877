"""Several files as one configuration: sources, machines and sinks are put together, everything else is said once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from config.problems import Findings, Mark
from config.tree import Items, Keys, Node, Scalar


def files_of(paths: Sequence[Path], findings: Findings) -> list[Path]:
    """The files to read: folders stand for their *.yaml and *.yml, sorted by name; no file twice."""
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _in_folder(path, findings) if path.is_dir() else [path]:
            found.setdefault(Path(os.path.realpath(file)), file)
    if not paths:
        findings.error(
            Mark("configuration"), "no configuration file was named", "collector check config.yaml"
        )
    return list(found.values())


def _in_folder(folder: Path, findings: Findings) -> list[Path]:
    try:
        inside = sorted(f for f in folder.iterdir() if f.suffix in (".yaml", ".yml") and f.is_file())
    except OSError as error:
        findings.error(Mark(str(folder)), f"cannot be read: {(error.strerror or str(error)).lower()}")
        return []
    if not inside:
        findings.error(Mark(str(folder)), "the folder has no *.yaml file")
    return inside


def merged(roots: Iterable[Keys], findings: Findings) -> Keys | None:
    """One tree of all files, or None when there is none."""
    whole: Keys | None = None
    for root in roots:
        whole = root if whole is None else _joined(whole, root, findings)
    return whole


def _joined(whole: Keys, more: Keys, findings: Findings) -> Keys:
    for key, node in more.entries.items():
        if key not in whole.entries:
            whole = whole.having(key, node, more.marks[key])
            continue
        together = _together(key, whole.entries[key], node, findings)
        if together is None:
            findings.error(more.marks[key], f"{key} is given twice: first in {_line(whole.marks[key])}")
        else:
            whole = whole.having(key, together, whole.marks[key])
    return whole


def _together(key: str, first: Node, second: Node, findings: Findings) -> Node | None:
    if key in ("machines", "sinks") and isinstance(first, Items) and isinstance(second, Items):
        return Items((*first.items, *second.items), first.mark)
    if key == "sources" and isinstance(first, Keys) and isinstance(second, Keys):
        return _sources(first, second, findings)
    same = isinstance(first, Scalar) and isinstance(second, Scalar) and first.value == second.value
    return first if key == "version" and same else None


def _sources(first: Keys, second: Keys, findings: Findings) -> Keys:
    for name, node in second.entries.items():
        if name in first.entries:
            message = f"the source {name} is given twice: first in {_line(first.marks[name])}"
            findings.error(second.marks[name], message, "give one of the two another name")
        else:
            first = first.having(name, node, second.marks[name])
    return first


def _line(mark: Mark) -> str:
    return f"{mark.file}:{mark.line}"
