"""What a comparison found: numbers for programs, the first differences of each sort for people."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from simulators.clock import SECOND

SORTS: Final = ("missing", "spurious", "altered", "late")


class Difference(NamedTuple):
    """One difference. t: ns of the truth (of the data when spurious), None for a value without a time of its own.

    expected: what the machine sent. found: what is stored (late: the time under which it is stored).
    """

    machine: str
    signal: str
    t: int | None
    expected: Any = None
    found: Any = None


@dataclass(slots=True)
class Verdict:
    """expected: values that should be stored; found: values in the data. The rest counts differences; `first` has some."""

    expected: int = 0
    found: int = 0
    missing: int = 0
    spurious: int = 0
    altered: int = 0
    late: int = 0
    explained: int = 0
    repeated: int = 0
    first: dict[str, list[Difference]] = field(default_factory=lambda: {sort: [] for sort in SORTS})

    def numbers(self) -> Mapping[str, int]:
        """For --json."""
        names = ("expected", "found", *SORTS, "explained", "repeated")
        return {name: int(getattr(self, name)) for name in names}

    def clean(self, *, allow_late: bool = False) -> bool:
        return not (self.missing or self.spurious or self.altered or (self.late and not allow_late))


def report(verdict: Verdict) -> Iterator[str]:
    """Lines for people."""
    yield f"The machines sent {verdict.expected:,} values; {verdict.found:,} are stored."
    for sort, words in _WORDS.items():
        count = getattr(verdict, sort)
        if count:
            yield f"{count:,} {words}"
            yield from (f"    {_difference(sort, each)}" for each in verdict.first[sort])
            if verdict.first[sort] and count > len(verdict.first[sort]):
                yield f"    and {count - len(verdict.first[sort]):,} more"
    lost = verdict.missing + verdict.explained
    if verdict.explained:
        share = 100 * verdict.explained / lost
        yield f"{verdict.explained:,} of {lost:,} lost values ({share:.1f} %) are explained by gap records."
    if verdict.repeated:
        yield f"{verdict.repeated:,} values without a time of their own are stored twice, as a broker repeats them."
    if verdict.clean(allow_late=True) and not verdict.late:
        yield "Nothing is missing without explanation, nothing was added, nothing was changed."


_WORDS: Final = {
    "missing": "missing: sent by a machine, not stored, and no gap record says so",
    "spurious": "spurious: stored, but no machine sent it",
    "altered": "altered: stored with another value than the machine sent",
    "late": "late: stored with the right value under another time",
}


def _difference(sort: str, each: Difference) -> str:
    place = (
        f"{each.machine} {each.signal} at {'no time of its own' if each.t is None else time_words(each.t)}"
    )
    if sort == "altered":
        return f"{place}: sent {_value(each.expected)}, stored {_value(each.found)}"
    if sort == "late" and each.t is not None:
        return f"{place}: {_value(each.expected)}, stored {(each.found - each.t) / SECOND:+.9g} s away"
    return f"{place}: {_value(each.found if sort == 'spurious' else each.expected)}"


def _value(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def time_words(ns: int) -> str:
    """RFC 3339 with all nine digits, as far as a calendar has them."""
    from datetime import UTC, datetime, timedelta

    seconds, fraction = divmod(ns, SECOND)
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return f"{ns} ns since 1970"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
