"""One line as the writer takes it apart when a server refuses it. Made only then: the usual way is texts (encode.py)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

_AFTER_NAME = re.compile(r"(?<!\\)=")


class Role(Enum):
    """What a line carries: values, values in fields of their own type (TWIN), or a statement of quality."""

    VALUE = 1
    TWIN = 2
    QUALITY = 3


@dataclass(frozen=True, slots=True)
class Line:
    """One line and how to take it apart. values: rows behind each field (0: a statement of quality beside a value)."""

    head: str
    fields: tuple[str, ...]
    at: int
    slots: tuple[int, ...]
    values: tuple[int, ...]
    role: Role = Role.VALUE

    def text(self) -> str:
        return f"{self.head} {','.join(self.fields)} {self.at}"

    def part(self, begin: int, end: int) -> Line:
        """The same line with some of its fields."""
        cut = slice(begin, end)
        return replace(self, fields=self.fields[cut], slots=self.slots[cut], values=self.values[cut])

    def parts(self) -> list[Line]:
        """One line per field."""
        return [self.part(i, i + 1) for i in range(len(self.fields))]

    def choose(self, wanted: Sequence[bool]) -> list[Line]:
        """The line with the wanted fields: one, or none if there are none."""
        if all(wanted):
            return [self]
        chosen = [part for part, good in zip(self.parts(), wanted, strict=True) if good]
        return [chosen[0].with_(chosen[1:])] if chosen else []

    def with_(self, others: Sequence[Line]) -> Line:
        """The fields of other lines of the same series and time appended."""
        return replace(
            self,
            fields=self.fields + tuple(cell for line in others for cell in line.fields),
            slots=self.slots + tuple(slot for line in others for slot in line.slots),
            values=self.values + tuple(count for line in others for count in line.values),
        )

    def renamed(self, field: str) -> Line:
        """The value of a line with one field, in another field (escaped key). Both names are escaped: `=` ends them."""
        value = _AFTER_NAME.split(self.fields[0], 1)[1]
        return replace(self, fields=(f"{field}={value}",), role=Role.TWIN)
