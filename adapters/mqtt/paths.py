"""Where a value stands in a JSON document: `P_total`, `U.L1`, `phases[0].U`, `["a.b"].c`; nothing means the whole document.

A double quote within double quotes is written twice: every key has a spelling, and no two have the same, because strangers choose them.

Not JSONPath (RFC 9535): a query that may yield several nodes cannot name one signal, and the full language would be
ten times the code of what energy meters and gateways need.
"""

from __future__ import annotations

import re

Path = tuple[str | int, ...]

_STEP = re.compile(r"""\.?([^.\[\]"'\s][^.\[\]]*)|\[(\d{1,6})\]|\["((?:[^"]|"")*)"\]|\['([^']*)'\]""")


def parse_path(text: str) -> Path:
    """The steps of a path: names and indexes. Raises ValueError with an example."""
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (match[1] is not None and (text[position] == ".") is (position == 0)):
            raise ValueError(
                f"'{text}' is not a value path: write names with dots and indexes in brackets, such as "
                'P_total, U.L1, phases[0].U or ["a.b"].c'
            )
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> str | int:
    name, index, double, single = match.groups()
    if index is not None:
        return int(index)
    if double is not None:
        return double.replace('""', '"')
    return name if name is not None else single


def spell(path: Path) -> str:
    """The path as the user would write it: the inverse of `parse_path`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"""[^.\[\]"'\s][^.\[\]]*""", step):
            text += f".{step}" if text else step
        elif '"' not in step or "'" in step:
            text += '["{}"]'.format(step.replace('"', '""'))
        else:
            text += f"['{step}']"
    return text
