"""What a start makes of rows that do not read back, table by table (fault matrix D7): what can be known from elsewhere is put
right, what cannot begins anew, and what may be missing or come twice because of it is told in a gap.

Nothing is guessed from a row whose seal does not hold: a name or a cursor that is off by a bit is a lie, a name that says
`lost` is not. The small tables are looked through at every start (some milliseconds), the entries when they are read.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from collector.journal import queries, seals, upgrading
from collector.journal.mark import HighWater
from collector.journal.schema import FORMAT, TABLES, Unreadable, numbers
from pipelines import codec
from pipelines.stage import Gap

log = logging.getLogger("collector.journal")

JOURNAL: Final = "journal"
_COUNTS: Final = ("quarantine_dropped", "gaps_dropped")


@dataclass(slots=True)
class _Patient:
    """rows: those that hold. broken: those that do not. missing: how many more there were. told: details of gaps."""

    rows: upgrading.Rows
    broken: upgrading.Rows
    missing: dict[str, int]
    meta: dict[str, Any]
    now: int
    numbered: int  # the last gap record that there was
    told: list[Gap] = field(default_factory=list)

    def lost(self, table: str) -> int:
        return len(self.broken[table]) + self.missing[table]

    def tell(
        self, detail: str, count: int | None = None, begins: int | None = None, ends: int | None = None
    ) -> None:
        log.error("%s", detail)
        self.told.append(Gap(begins or self.now, ends or self.now, "journal_damaged", detail, count=count))


def mend(connection: sqlite3.Connection, high: HighWater | None, now: int) -> bool:
    """Afterwards every row holds and this connection seals what it writes. Returns whether books of sources were lost."""
    patient = _examined(connection, now)
    lost_meta = {"store", "format", *numbers()} - set(patient.meta)
    if not lost_meta and not any(patient.lost(table) for table in seals.COUNTED):
        seals.install(connection)
        return False
    _check_own_pages(connection)
    _meta(connection, patient, lost_meta, high)
    for table, cure in _CURES.items():
        if patient.lost(table):
            cure(connection, patient)
    _gaps_told(patient, queries.tail(connection)[0])
    rows = {table: _unique(table, patient.rows[table]) for table in seals.COUNTED}
    meta = {**patient.meta, **{f"rows_{table}": 0 for table in seals.COUNTED}}
    upgrading.make_anew(connection, TABLES, meta, rows, FORMAT)
    return patient.lost("sources") > 0


def _check_own_pages(connection: sqlite3.Connection) -> None:
    """Raises Unreadable where two tables share a page (a flipped bit in the place of one): to make one anew would destroy the other."""
    told = "; ".join(str(line) for (line,) in connection.execute("PRAGMA quick_check(20)"))
    if "2nd reference" in told:
        raise Unreadable(told[:200].replace("\n", " "))


def _examined(connection: sqlite3.Connection, now: int) -> _Patient:
    rows: upgrading.Rows = {}
    broken: upgrading.Rows = defaultdict(list)
    for table, found in upgrading.taken(connection).items():
        rows[table] = [row for row in found if _holds(table, row)]
        broken[table] = [row for row in found if not _holds(table, row)]
    meta = {row["key"]: row["value"] for row in rows.pop("meta")}
    missing = {
        table: max(0, int(meta.get(f"rows_{table}", 0)) - len(rows[table]) - len(broken[table]))
        for table in seals.COUNTED
    }
    numbered = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'gaps'").fetchone()
    return _Patient(rows, broken, missing, meta, now, int(numbered[0]) if numbered else 0)


def _holds(table: str, row: dict[str, Any]) -> bool:
    *cells, seal = row.values()
    return bool(seal == seals.seal(table, *cells))


def _unique(table: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({row[seals.key_of(table)]: row for row in rows}.values())


def _meta(connection: sqlite3.Connection, patient: _Patient, lost: set[str], high: HighWater | None) -> None:
    """What is missing here is known from the mark, or may be asked for again: only two counts are not."""
    if lost:
        log.error("numbers of the buffer did not read back and were put right: %s", ", ".join(sorted(lost)))
    oldest = connection.execute("SELECT min(position) - 1 FROM entries").fetchone()[0]
    known = {
        **numbers(),
        "store": high.store if high is not None else secrets.token_hex(8),
        "deleted": oldest or 0,
    }
    patient.meta |= {key: known[key] for key in lost}
    for key in lost & set(_COUNTS):
        patient.tell(f"the number {key} did not read back and begins anew")


def _points(connection: sqlite3.Connection, patient: _Patient) -> None:
    known = {row["id"]: row for row in patient.rows["points"]}
    end = max([int(patient.meta.get("rows_points", 0)), *(number + 1 for number in known)])
    gone = [number for number in range(end) if number not in known]
    for number in gone:
        point = queries.lost(number)
        row = {"id": number, "machine": point.machine, "name": point.name, "kind": int(point.kind)}
        known[number] = {**row, "unit": "", "tags": "{}", "seal": None}
    patient.rows["points"] = [known[number] for number in range(end)]
    for number, seen in _seen(connection, set(gone)).items():
        where = f" (positions {seen.first} to {seen.last})" if seen.values else ""
        patient.tell(
            f"the name of point {number} did not read back; what is held of it goes by unknown/lost-{number}{where}",
            seen.values,
            seen.begins,
            seen.ends,
        )


class _Seen(NamedTuple):
    """Values of a point in what is held: positions, how many, ns."""

    first: int = 0
    last: int = 0
    values: int = 0
    begins: int | None = None
    ends: int | None = None


def _seen(connection: sqlite3.Connection, gone: set[int]) -> dict[int, _Seen]:
    """Everything that is held is read for this: once, and only after damage."""
    seen = {number: _Seen() for number in gone}
    for position, number, at in _values(connection, gone):
        old = seen[number]
        begins, ends = min(old.begins or at[0], at[0]), max(old.ends or at[1], at[1])
        seen[number] = _Seen(old.first or position, position, old.values + at[2], begins, ends)
    return seen


def _values(
    connection: sqlite3.Connection, gone: set[int]
) -> Iterator[tuple[int, int, tuple[int, int, int]]]:
    """(position, point, (first time, last time, how many)) of what is held of these points."""
    after = 0
    while gone and (rows := queries.rows(connection, after, 100_000)):
        after = rows[-1].position
        for row in rows:
            for batch in _decoded(row):
                for number in gone & set(batch.points.tolist()):
                    at = batch.at[batch.points == number]
                    yield row.position, number, (int(at.min()), int(at.max()), len(at))


def _decoded(row: queries.Row) -> list[Any]:
    try:
        return list(codec.decode(row.blob)) if row.sound and not row.damaged else []
    except codec.CodecError:
        return []


def _sources(_: sqlite3.Connection, patient: _Patient) -> None:
    names = _named(patient, "sources")
    patient.tell(f"the books and the checkpoint of {names} did not read back and begin anew")


def _named(patient: _Patient, table: str) -> str:
    """Who is concerned: as it reads back, which may be off by a bit, and how many more."""
    key = seals.key_of(table)
    names = [repr(str(row[key])) for row in patient.broken[table]]
    return ", ".join([*names, *(["another one"] * patient.missing[table])])


def _identities(_: sqlite3.Connection, patient: _Patient) -> None:
    patient.meta["identity_floor"] = 0  # what is held is looked through again
    names = _named(patient, "identities")
    patient.tell(f"what {names} sent before did not read back: what is sent again may be stored twice")


def _followers(_: sqlite3.Connection, patient: _Patient) -> None:
    """They are registered again, from the oldest that is held, or from the memory that a derivation still has. What they were
    to write again is refused as before.
    """
    known = {row["name"] for row in patient.rows["followers"]}
    homeless = [row for row in patient.rows["written_again"] if row["follower"] not in known]
    patient.rows["written_again"] = [row for row in patient.rows["written_again"] if row["follower"] in known]
    for row in homeless:
        refusal = {"number": row["number"], "origin": row["follower"], "place": JOURNAL, "raw": b""}
        refusal |= {
            "reason": "was to be written again",
            "at": patient.now,
            "count": row["count"],
            "seal": None,
        }
        patient.rows["quarantine"].append(refusal)
        patient.rows["refused_values"].append({"number": row["number"], "batch": row["batch"], "seal": None})
    names = _named(patient, "followers")
    patient.tell(
        f"how far {names} had got did not read back: what is held comes again; what is derived is not stored twice",
        0,
    )


def _derivations(_: sqlite3.Connection, patient: _Patient) -> None:
    patient.tell(f"the memory of {_named(patient, 'derivations')} did not read back and begins anew")


def _quarantine(_: sqlite3.Connection, patient: _Patient) -> None:
    lost = patient.lost("quarantine")
    patient.meta["quarantine_dropped"] += lost
    patient.tell(f"{lost} refusals in quarantine did not read back")


def _refused_values(_: sqlite3.Connection, patient: _Patient) -> None:
    lost = patient.lost("refused_values")
    patient.tell(
        f"the values of {lost} refusals in quarantine did not read back: these cannot be written again"
    )


def _written_again(_: sqlite3.Connection, patient: _Patient) -> None:
    """They were refused, and stay it: how many of whom is what is missing from the books of the followers."""
    waits = Counter[str]()
    for row in patient.rows["written_again"]:
        waits[row["follower"]] += row["count"]
    lost = 0
    for row in patient.rows["followers"]:
        known = row["registered"] + row["stored"] + row["quarantined"] + row["dropped"] + waits[row["name"]]
        row["quarantined"] += row["reached"] - known
        lost += row["reached"] - known
    patient.tell("refusals that were to be written again did not read back", lost)


def _quarantine_books(_: sqlite3.Connection, patient: _Patient) -> None:
    names = _named(patient, "quarantine_books")
    patient.tell(f"how much of {names} was replayed and purged did not read back and begins anew")


def _gaps(_: sqlite3.Connection, patient: _Patient) -> None:
    lost = patient.lost("gaps")
    patient.meta["gaps_dropped"] += lost
    patient.tell(f"{lost} gap records did not read back: what they told of is not known any more")


def _gaps_told(patient: _Patient, tail: int) -> None:
    """Behind all that were told before."""
    last = max([0, *(row["number"] for row in patient.rows["gaps"]), patient.numbered])
    for number, gap in enumerate(patient.told, last + 1):
        row = {"number": number, "source": JOURNAL, "position": tail, "begins": gap.begins, "ends": gap.ends}
        row |= {
            "reason": gap.reason,
            "detail": gap.detail,
            "machines": "[]",
            "count": gap.count,
            "seal": None,
        }
        patient.rows["gaps"].append(row)


_CURES: Final[dict[str, Callable[[sqlite3.Connection, _Patient], None]]] = {
    "points": _points,
    "sources": _sources,
    "identities": _identities,
    "followers": _followers,
    "derivations": _derivations,
    "written_again": _written_again,
    "quarantine": _quarantine,
    "refused_values": _refused_values,
    "quarantine_books": _quarantine_books,
    "gaps": _gaps,
}
