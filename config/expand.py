"""`${env:NAME}` and `${file:path}`: after parsing, only inside string values, and never a second time.

A relative path begins at the folder of the configuration file; what is not there is looked for among the credentials that
systemd has given the service (`LoadCredential=`, systemd.exec(5)), whose folder is in $CREDENTIALS_DIRECTORY.

Not textual interpolation before parsing, which lets the content of a variable rewrite the configuration and drags
secrets through every error message. What was expanded is remembered, so that no problem text ever shows it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from config.problems import Findings, Mark
from config.tree import Node, Scalar, map_scalars

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_LARGEST = 64 * 1024
_MOUNTED = "/run/secrets/"
"""Where container runtimes mount secrets, readable inside the container only, with mode 0444."""


class Expander:
    """Expands trees; collects the texts that came from outside (`secrets`) and the files they came from (`files`)."""

    def __init__(self, env: Mapping[str, str], findings: Findings) -> None:
        self._env = env
        self._findings = findings
        self.secrets: set[str] = set()
        self.files: dict[Path, None] = {}

    def tree(self, node: Node) -> Node:
        return map_scalars(node, self._scalar)

    def _scalar(self, scalar: Scalar) -> Scalar:
        if not isinstance(scalar.value, str) or "${" not in scalar.value:
            return scalar
        found: list[str] = []

        def text(match: re.Match[str]) -> str:
            found.append(self._text(match, scalar.mark))
            return found[-1]

        value = _REFERENCE.sub(text, scalar.value)
        expanded = any(match[0] != "$${" for match in _REFERENCE.finditer(scalar.value))
        return replace(scalar, value=value, expanded=expanded, lost="" in found)

    def _text(self, match: re.Match[str], mark: Mark) -> str:
        if match[0] == "$${":
            return "${"
        kind, _, name = (match[1] or "").partition(":")
        text = self._looked_up(kind, name.strip(), mark) if match[2] and name.strip() else None
        if text is None:
            self._not_found(kind, name, match, mark)
            return ""
        if text == "" or not _is_unicode(text):
            what = "is not UTF-8 text" if text else "is empty"
            self._findings.error(mark, f"{match[0]} {what}", "give it a value, or remove the reference")
            return ""
        self.secrets.add(text)
        return text

    def _looked_up(self, kind: str, name: str, mark: Mark) -> str | None:
        if kind == "env":
            return self._env.get(name)
        return self._secret_file(name, mark) if kind == "file" else None

    def _not_found(self, kind: str, name: str, match: re.Match[str], mark: Mark) -> None:
        if kind == "env" and name.strip() and match[2]:
            hint = f"set it before starting: export {name.strip()}=…"
            self._findings.error(mark, f"the environment variable {name.strip()} is not set", hint)
        elif kind != "file" or not name.strip() or not match[2]:
            hint = "write ${env:NAME} or ${file:path}; a literal ${ is written $${"
            self._findings.error(mark, f"{match[0][:60]} cannot be expanded", hint)

    def _secret_file(self, name: str, mark: Mark) -> str | None:
        path = self._place(name, mark)
        try:
            mode = path.stat().st_mode
            raw = path.read_bytes() if stat.S_ISREG(mode) and path.stat().st_size <= _LARGEST else None
            text = None if raw is None else raw.decode("utf-8")
        except (OSError, ValueError) as error:
            why = (error.strerror or "").lower() if isinstance(error, OSError) else "not UTF-8 text"
            self._findings.error(mark, f"the secret file {name} cannot be read: {why}", _relative_to(mark))
            return None
        self.files[path] = None
        if text is None:
            message = f"the secret file {name} is not a plain file of at most 64 KiB"
            self._findings.error(mark, message, _relative_to(mark))
            return None
        self._warn_of_readers(path, mode, name, mark)
        return text.removesuffix("\n").removesuffix("\r")

    def _place(self, name: str, mark: Mark) -> Path:
        beside = Path(mark.file).parent / name
        credentials = self._env.get("CREDENTIALS_DIRECTORY", "")
        if not credentials or Path(name).is_absolute() or os.path.lexists(beside):
            return beside
        given = Path(credentials) / name
        return given if os.path.lexists(given) else beside

    def _warn_of_readers(self, path: Path, mode: int, name: str, mark: Mark) -> None:
        if os.name == "posix" and mode & stat.S_IROTH and not str(path).startswith(_MOUNTED):
            message = f"everybody on this computer can read the secret file {name}"
            self._findings.warning(mark, message, f"chmod 600 {path}")


def _relative_to(mark: Mark) -> str:
    return f"a relative path begins at the folder of {Path(mark.file).name}"


def _is_unicode(text: str) -> bool:
    """Undecodable bytes of the environment come as half characters (PEP 383), which nothing behind us can write."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
