"""From files to settings: read, merge, write out, validate, relate; every problem of every phase at once.

Nothing here raises for what a user wrote, and nothing touches the network. What is found wrong late (by a connection, in
`check --online`) can still be said with its line: Loaded remembers the places.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from adapters.catalogue import source_types
from config import locate, relations
from config.expand import Expander
from config.machines import Writer, read_models_of
from config.merge import files_of, merged
from config.places import Places, places_of
from config.problems import Findings, Mark, Problem
from config.settings import Settings
from config.shapes import Place, Reads, is_path, is_secret, visit
from config.tree import Items, Keys, Scalar, plain
from config.yaml_source import parse, read_text


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of it. settings: None when there are errors. problems: sorted by place, warnings included.

    places: where things were written. files: all that was read (lists and secrets too), for those who watch for changes.
    """

    settings: Settings | None
    problems: Sequence[Problem] = ()
    places: Places = field(default_factory=Places)
    files: Sequence[Path] = ()

    @property
    def errors(self) -> Sequence[Problem]:
        return tuple(p for p in self.problems if p.level == "error")

    @property
    def warnings(self) -> Sequence[Problem]:
        return tuple(p for p in self.problems if p.level == "warning")


def load(paths: Sequence[Path], *, env: Mapping[str, str] | None = None) -> Loaded:
    """Files and folders as one configuration. env: for `${env:NAME}`; left out, the environment of the process."""
    findings = Findings()
    expander = Expander(os.environ if env is None else env, findings)
    files = files_of(paths, findings)
    whole = merged(_roots(files, findings), findings)
    if whole is None:
        return Loaded(None, findings.sorted(), files=files)
    reads = read_models_of(whole, {name: model.read_model for name, model in source_types().items()})
    writer = Writer(reads, expander, findings)
    tree = _written_out(whole, writer, expander)
    known = list(visit(tree, Settings, reads, tree.mark))
    _warn_of_secrets(known, findings)
    settings = _validated(tree, known, reads, findings)
    relations.check(tree, findings)
    places = places_of(tree)
    if settings is not None and not findings.failed:
        settings = _absolute(settings, known, Path(whole.mark.file).parent)
        _review(settings, places, findings)
    secrets = {*expander.secrets, *(str(scalar.value) for _, scalar in _secrets(known))}
    read = (*files, *writer.files, *expander.files)
    return Loaded(None if findings.failed else settings, findings.sorted(secrets), places, read)


def state_folder(paths: Sequence[Path]) -> Path | None:
    """Where the state is, read from a configuration that may be wrong everywhere else; None if it cannot be told."""
    findings = Findings()
    files = files_of(paths, findings)
    named: Path | None = None
    for file in files:
        text = read_text(file, str(file), findings)
        root = None if text is None else parse(text, str(file), findings)
        if not isinstance(root, Keys):
            return None
        state = root.entries.get("state")
        if isinstance(state, Scalar) and isinstance(state.value, str):
            named = _from(file.parent, Path(state.value))
    return named or (_from(files[0].parent, Path("state")) if files else None)


def _roots(files: Sequence[Path], findings: Findings) -> Iterator[Keys]:
    for file in files:
        text = read_text(file, str(file), findings)
        if text is None:
            continue
        already = len(findings)
        root = parse(text, str(file), findings)
        if isinstance(root, Keys):
            yield root
        elif root is not None:
            findings.error(root.mark, "a configuration consists of keys", "begin with version: 1")
        elif len(findings) == already:
            findings.error(
                Mark(str(file)), "the file is empty", "compare it with config/examples/minimal.yaml"
            )


def _written_out(whole: Keys, writer: Writer, expander: Expander) -> Keys:
    for key, node in whole.entries.items():
        if key == "machines" and isinstance(node, Items):
            whole = whole.having(key, writer.all(node), whole.marks[key])
        else:
            whole = whole.having(key, expander.tree(node), whole.marks[key])
    return whole


def _validated(tree: Keys, known: Sequence[Place], reads: Reads, findings: Findings) -> Settings | None:
    try:
        return Settings.model_validate(plain(tree), context={"reads": reads})
    except ValidationError as error:
        models = {place.path: place.model for place in known if place.model is not None}
        locate.report(error, tree, models, findings)
    return None


def _warn_of_secrets(known: Sequence[Place], findings: Findings) -> None:
    for place, scalar in _secrets(known):
        if not scalar.expanded:
            message = f"{place.path[-1]}: a secret stands in the file, where every copy of it shows it"
            findings.warning(place.mark, message, "write ${env:NAME} or ${file:secrets/name} instead")


def _secrets(known: Sequence[Place]) -> Iterator[tuple[Place, Scalar]]:
    for place in known:
        node = place.node
        if is_secret(place.expected) and isinstance(node, Scalar) and node.value not in (None, ""):
            yield place, node


def _absolute(settings: Settings, known: Sequence[Place], folder: Path) -> Settings:
    """Paths begin at the folder of the file that names them; `state` by default at that of the first file."""
    settings = settings.model_copy(update={"state": _from(folder, settings.state)})
    for place in known:
        if is_path(place.expected) and isinstance(place.node, Scalar) and isinstance(place.node.value, str):
            path = _from(Path(place.mark.file).parent, Path(place.node.value))
            settings = _replaced(settings, place.path, path)
    return settings


def _from(folder: Path, path: Path) -> Path:
    return Path(os.path.abspath(folder / path))  # noqa: PTH100 (resolve() would follow links that may change)


def _replaced(part: Any, path: Sequence[str | int], value: Any) -> Any:
    """A copy of a frozen structure with one value changed."""
    if not path:
        return value
    step = path[0]
    if isinstance(part, BaseModel):
        changed = _replaced(getattr(part, str(step)), path[1:], value)
        return part.model_copy(update={str(step): changed})
    if isinstance(part, Mapping):
        return {**part, step: _replaced(part[step], path[1:], value)}
    return tuple(_replaced(p, path[1:], value) if i == step else p for i, p in enumerate(part))


def _review(settings: Settings, places: Places, findings: Findings) -> None:
    """What the adapters themselves find doubtful, or impossible together."""
    for name, source in settings.sources.items():
        for doubt in source.review(settings.readings(name)):
            findings.warning(places.source(name), f"{name}: {doubt}", path=f"sources.{name}")
    for index, sink in enumerate(settings.sinks):
        for doubt in sink.review():
            findings.warning(places.sink(settings.sink_names[index]), doubt, path=f"sinks[{index}]")
    sources = {name: (source, settings.readings(name)) for name, source in settings.sources.items()}
    for index, sink in enumerate(settings.sinks):
        for clash in sink.clashes(sources):
            hint = "publish under another first level, or read more narrowly"
            findings.error(places.sink(settings.sink_names[index]), f"{sink.name}: {clash}", hint)
