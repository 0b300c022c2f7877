"""Which model stands behind a place of the tree: for "did you mean", for secrets and for paths.

pydantic says where something is wrong, but not what would have been right there; this walks tree and models together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from adapters.settings import ReadSettings
from config.problems import Mark
from config.tree import Items, Keys, Node, text_at

Reads = Mapping[str, type[ReadSettings]]
"""By the name of a source, the model of the read entries that name it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A node, the key's place, what the model expects there, and the model of the node if it has one."""

    node: Node
    mark: Mark
    expected: Any
    model: type[BaseModel] | None
    path: tuple[str | int, ...]


def alternatives(expected: Any) -> Iterator[Any]:
    """The members of a union, without their annotations."""
    if get_origin(expected) is Annotated:
        yield from alternatives(get_args(expected)[0])
    elif get_origin(expected) in (Union, UnionType):
        for member in get_args(expected):
            yield from alternatives(member)
    else:
        yield expected


def is_secret(expected: Any) -> bool:
    return SecretStr in alternatives(expected)


def is_path(expected: Any) -> bool:
    return Path in alternatives(expected)


def visit(
    node: Node, expected: Any, reads: Reads, mark: Mark, path: tuple[str | int, ...] = ()
) -> Iterator[Place]:
    """The node and everything beneath it that a model knows."""
    model = _model(expected, node, reads)
    yield Place(node, mark, expected, model, path)
    if isinstance(node, Keys):
        for key, child in node.entries.items():
            known = _of_key(expected, model, key)
            if known is not None:
                yield from visit(child, known, reads, node.marks[key], (*path, key))
    elif isinstance(node, Items):
        item = _of_item(expected)
        for index, child in enumerate(node.items if item is not None else ()):
            yield from visit(child, item, reads, child.mark, (*path, index))


def _model(expected: Any, node: Node, reads: Reads) -> type[BaseModel] | None:
    models = [a for a in alternatives(expected) if isinstance(a, type) and issubclass(a, BaseModel)]
    if models == [ReadSettings]:
        return reads.get(text_at(node, "source") or "")
    if len(models) == 1:
        return models[0]
    kind = text_at(node, "type")
    return next((model for model in models if kind is not None and kind in _types(model)), None)


def _types(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("type")
    return () if field is None else get_args(field.annotation)


def _of_key(expected: Any, model: type[BaseModel] | None, key: str) -> Any:
    if model is not None:
        field = model.model_fields.get(key)
        return None if field is None else field.annotation
    groups = (a for a in alternatives(expected) if _origin_is(a, Mapping))
    return next((get_args(group)[1] for group in groups), None)


def _of_item(expected: Any) -> Any:
    lists = (a for a in alternatives(expected) if _origin_is(a, Sequence))
    return next((get_args(found)[0] for found in lists), None)


def _origin_is(expected: Any, kind: type) -> bool:
    origin = get_origin(expected)
    return isinstance(origin, type) and issubclass(origin, kind) and bool(get_args(expected))


class Fields:
    """The keys that a signal of a source may have; without a model (unknown source) every key is possible."""

    def __init__(self, model: type[BaseModel] | None) -> None:
        self._fields = None if model is None else model.model_fields

    @property
    def names(self) -> Iterable[str]:
        return () if self._fields is None else tuple(self._fields)

    def has(self, name: str) -> bool:
        return self._fields is None or name in self._fields

    def is_text(self, name: str) -> bool:
        """Whether `5` there is a text: the field takes texts and no numbers."""
        kinds = set(self._kinds(name))
        return bool(kinds) and all(kind is str or get_origin(kind) is Literal for kind in kinds)

    def is_list(self, name: str) -> bool:
        return any(_origin_is(kind, Sequence) for kind in self._kinds(name))

    def _kinds(self, name: str) -> Iterator[Any]:
        if self._fields is not None and name in self._fields:
            yield from (k for k in alternatives(self._fields[name].annotation) if k is not NoneType)


def signal_fields(read_model: type[ReadSettings] | None) -> Fields:
    """The keys of one entry of `signals:` of this read model."""
    field = None if read_model is None else read_model.model_fields.get("signals")
    item = None if field is None else _of_item(field.annotation)
    return Fields(
        next((m for m in alternatives(item) if isinstance(m, type) and issubclass(m, BaseModel)), None)
    )
