"""Exit codes, as sysexits.h names them where it has a name; documented in `collector --help` and the README."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    PROBLEMS = 1
    USAGE = 2
    UNAVAILABLE = 69
    FAILED = 70
    CONFIG = 78
    INTERRUPTED = 130
