"""What one may ask of the history. Only pydantic here: pyarrow and duckdb load when the archive is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from adapters.base import Bench
from adapters.settings import Duration, Size, Strict

if TYPE_CHECKING:
    from adapters.history.archive import HistoryArchive


class HistorySettings(Strict):
    """`history:` of the configuration. It is on by default; both bounds delete whole files, the oldest first."""

    path: str = Field("history", min_length=1, description="Folder; relative to the state folder")
    keep: Duration = Field("90d", validate_default=True, description="Age at which values are deleted")
    max: Size = Field("20GB", validate_default=True, description="Size of all files at which the oldest go")
    seal_values: int = Field(250_000, ge=1, description="A file is closed at this many values")
    seal_every: Duration = Field(
        "5min", validate_default=True, description="… or at this age of its first value"
    )

    def folder(self, bench: Bench) -> Path:
        """Where the files are."""
        return Path(bench.state_dir) / self.path

    def build(self, bench: Bench) -> HistoryArchive:
        from adapters.history.archive import HistoryArchive

        return HistoryArchive("history", self, bench)
