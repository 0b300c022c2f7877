"""The table of tests/README.md: every row of the fault list with the tests that show it.

A test names its rows at the beginning of its docstring (or of its class's or module's): `D3: …`, `P1, M2: …`. The table is
made from these words, so that it cannot speak of tests that are not there: `python -m tests.rows --write`.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT = Path(__file__).parent
README = ROOT / "README.md"
BEGIN, END = "<!-- rows: made by python -m tests.rows --write -->", "<!-- end of rows -->"

_ID = r"[PDUMITLBC]\d{1,2}"
_MARK = re.compile(rf"^\s*({_ID}(?:\s*[,/+]\s*{_ID}|\s+and\s+{_ID}|\s*[-–]\s*{_ID})*)\s*(?:\([^)]*\))?\s*:")
_IN_NAME = re.compile(r"^test_([pdumitlbc]\d{1,2})_", re.IGNORECASE)

ROWS: dict[str, str] = {
    "P1": "kill -9 at a random time",
    "P2": "kill -9 at every syscall of the journal",
    "P3": "power cut: unsynced writes lost, torn, reordered",
    "P4": "crash during recovery, and again",
    "P5": "SIGTERM under load",
    "P6": "SIGSTOP, long",
    "P7": "memory limit",
    "P8": "no more file descriptors",
    "P9": "event loop blocked",
    "P10": "an error nobody foresaw in one adapter",
    "P11": "second instance",
    "P12": "older and newer formats",
    "D1": "disk full while appending",
    "D2": "disk full at a cursor, a rotation, the quarantine",
    "D3": "fsync fails once",
    "D4": "read-only, permission lost",
    "D5": "slow disk",
    "D6": "torn tail of the write-ahead log",
    "D7": "bits flipped anywhere",
    "D8": "journal deleted, truncated, zeroed by hand",
    "D9": "a follower's cursor lost or behind",
    "D10": "power cut right after creation",
    "D11": "state of another machine, clone",
    "M1": "broker killed, restarted, with and without persistence",
    "M2": "crash with unacknowledged messages",
    "M3": "journal blocked",
    "M4": "acknowledgement after a reconnection",
    "M5": "order of acknowledgements; given twice",
    "M6": "subscription refused, or granted and kept silent",
    "M7": "two clients with one client id",
    "M8": "queue overflow at the broker",
    "M9": "flood of retained messages",
    "M10": "half-open connection",
    "M11": "TLS: wrong certificates of both sides",
    "M12": "topics that nobody should send",
    "M13": "payloads that nobody should send",
    "M14": "Sparkplug: sequence, births, deaths, aliases out of the rules",
    "M15": "two collectors in a shared subscription",
    "U1": "connection reset in the middle of a message",
    "U2": "a line that is dead without saying so",
    "U3": "server restarted: sessions and subscriptions gone",
    "U4": "a second loss while everything is made again",
    "U5": "a node that is unknown for a while",
    "U6": "a subscription that ended, told in three ways",
    "U7": "a subscription that died silently in a living session",
    "U8": "sequence numbers missing in the stream",
    "U9": "keep-alives with the next number, with an empty array or none",
    "U10": "sequence numbers go round; twice; too early",
    "U11": "Republish that never says no",
    "U12": "a queue of the server overflowed",
    "U13": "every status code",
    "U14": "impossible and odd times",
    "U15": "namespace index moved after a restart",
    "U16": "the type of a node changes",
    "U17": "interval, queue, keep-alive revised",
    "U18": "limits of operations and requests; few services",
    "U19": "keys renewed, old and new side by side, slowly",
    "U20": "the server's certificate renewed",
    "U21": "wrong certificates, edited lists of endpoints",
    "U22": "a server that means harm",
    "U23": "many servers, some of which flap",
    "U24": "the collector stands still for ten minutes",
    "I1": "refused, timeout, reset before, during, after the body",
    "I2": "answer lost after the commit",
    "I3": "bad lines in a batch",
    "I4": "field type conflict",
    "I5": "401, 403, 404",
    "I6": "413",
    "I7": "429, 503 with Retry-After",
    "I8": "captive portal, redirects",
    "I9": "slow database",
    "I10": "database away for days",
    "I11": "points older than the retention",
    "I12": "bucket made anew, empty",
    "I13": "silent loss",
    "I14": "two databases, one down",
    "T1": "wall clock jumps",
    "T2": "daylight saving, time zone",
    "T3": "start in 1970",
    "L1": "burst, tenfold",
    "L2": "twice the capacity, for long",
    "L3": "long run",
    "B1": "NaN, infinities, -0.0, subnormals",
    "B2": "integers beyond 64 bits",
    "B3": "monstrous JSON",
    "B4": "arrays, matrices, structures",
    "B5": "hostile texts",
    "B6": "schema drift",
    "B7": "new series without end",
    "B8": "equal times, different values",
    "C1": "wrong configuration",
    "C2": "configuration changed while a backlog waits",
}
"""The rows that must have a test; M are listed where tests name them."""

LONG: dict[str, tuple[str, str]] = {
    "P1": ("12 kills of the whole line, 200 of the journal alone", "`make torture`: 1,000 each"),
    "P2": ("every fifth call, from a place that SEED names", "`make torture`: every one"),
    "P3": ("10,000 states", "`make torture`: 100,000"),
    "P4": ("10,000 states; three deep at every fifth call", "`make torture`"),
    "P5": ("seconds", "`make torture`"),
    "P6": ("7 s", "`make torture`: 30 s"),
    "P7": ("seconds", "`make torture`"),
    "D3": ("every fourth operation", "`make torture`: every one"),
    "D5": ("tenths of a second instead of 5 s", "no longer form"),
    "D7": ("a sample of the bits, another one at each SEED", "`make torture`: one in every byte"),
    "U3": ("200 tags", "`make torture`: 1,000"),
    "U4": ("every seventh of 50 places", "`make torture`: every one"),
    "U19": ("two minutes on a clock of its own", "`make torture`: half an hour"),
    "U20": ("started anew instead of waiting 15 s for another try", "`make torture`"),
    "U23": ("30 servers, 6 flapping, 2 s", "`make torture`: 100, 20, a minute"),
    "U24": ("whole, on a clock of its own", "`make test`"),
    "M3": ("5 s; 2 s of ten times the load", "SHOPFLOOR_LONG=1: 10 min; 60 s of ten times the load"),
    "I9": ("tenths of a second instead of 60 s", "no longer form"),
    "I10": ("100,000 values", "`make torture`: 10,000,000"),
    "L1": ("5 s instead of 60 s", "`make torture`"),
    "L2": ("8 s instead of an hour", "`make torture`"),
    "L3": ("20 s, wide limits", "`make soak`, limits as promised"),
}
"""How CI shortens a row, and what runs it whole."""


SCRIPTS: dict[str, str] = {
    "M2": "`Link.publish` with dup",
    "M3": "`Link.publish` while the gate of the line is closed",
    "M4": "`Link.cut` between receipt and acknowledgement",
    "M5": "`Link.acknowledges`; `Rules.slices`",
    "M6": "`Rules.granted`",
    "M7": "`Link.hang_up`; `Link.disconnect` 0x8E",
    "M8": "`Rules.granted`, `Rules.props`",
    "M10": "`Rules.pings`, `Rules.props`",
    "M12": "`Link.publish` of any bytes; `raw.publish`",
    "M13": "`Link.publish` of a declared length, with QoS 2; `Link.send`; `Link.disconnect`",
    "M14": "`break_rule` with each rule of the simulated edge (`python -m simulators sparkplug --list`)",
    "U1": "`Torn` in the middle of an answer; `policy.reactivate`, `policy.transfer`",
    "U2": "`Mute`",
    "U3": "`stop`, `start`: nobody is remembered",
    "U4": "`CutAfter` the n-th answer",
    "U5": "`Variable.known`",
    "U6": "`end_subscriptions`, `fault`",
    "U7": "`end_subscriptions` silently",
    "U8": "`Swallow`; `policy.keep`",
    "U9": "`say` with a `Notice`; `policy.null_keep_alive`",
    "U10": "`Swallow`, `Twice`, `Swap`; the number by `Subscription.sequence`",
    "U11": "`Answer` to Republish",
    "U12": "`policy.queue`, queues as in `Monitored.put`",
    "U13": "`emit` with every status",
    "U14": "`emit` with every time",
    "U15": "`Space.namespaces`, `Space.decoys`",
    "U16": "`emit` with another type",
    "U17": "`policy.interval`, `policy.sampling`, `policy.queue`, `policy.keep_alive`",
    "U18": "`policy.limits`, `Space.limits`, `policy.publish_limit`, `Unsupported`, `Refuse`",
    "U19": "`policy.channel_lifetime`, `Slow` for OpenSecureChannel",
    "U20": "`Entrance.identity` swapped",
    "U21": "`Identity` of every wrong kind, `Entrance.offers`, `Entrance.hidden`",
    "U22": "`Mangle`, `Endless`, `pour`, `notify`",
    "U23": "`leave`, `start`",
    "U24": "the gate of `Line`; `policy.queue`; the server on the test's clock",
}
"""What plays a row on the scripted server (tests/opcua/scripted, tests/opcua/rows), by the names in the code."""

S_BEGIN, S_END = "<!-- scripts: made by python -m tests.rows --write -->", "<!-- end of scripts -->"


class Named(NamedTuple):
    row: str
    file: str
    name: str


def found(root: Path = ROOT) -> Iterator[Named]:
    """Every test that names a row, by reading the files (nothing is imported)."""
    for path in sorted(root.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        place = path.relative_to(root).as_posix()
        yield from _of(tree, place, _rows(ast.get_docstring(tree) or ""))


def _of(node: ast.Module | ast.ClassDef, place: str, rows: list[str], owner: str = "") -> Iterator[Named]:
    for child in node.body:
        own = (
            _rows(ast.get_docstring(child) or "")
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            else []
        )
        if isinstance(child, ast.ClassDef):
            yield from _of(child, place, [*rows, *own], f"{child.name}::")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and child.name.startswith("test_"):
            named = _IN_NAME.match(child.name)
            mine = [*rows, *own, *([named[1].upper()] if named else [])]
            yield from (Named(row, place, f"{owner}{child.name}") for row in dict.fromkeys(mine))


def _rows(docstring: str) -> list[str]:
    mark = _MARK.match(docstring)
    if mark is None:
        return []
    rows: list[str] = []
    for part in re.split(r"\s*[,/+]\s*|\s+and\s+", mark[1]):
        first, *rest = re.split(r"\s*[-–]\s*", part)
        last = int((rest or [first])[0][1:])
        rows += [f"{first[0]}{number}" for number in range(int(first[1:]), last + 1)]
    return rows


def without_test(tests: list[Named]) -> list[str]:
    named = {test.row for test in tests}
    return [row for row in ROWS if row not in named]


def table(tests: list[Named]) -> str:
    lines = ["| row | fault | tests | in CI | whole |", "|---|---|---|---|---|"]
    others = sorted({test.row for test in tests} - ROWS.keys(), key=lambda row: (row[0], int(row[1:])))
    for row in [*ROWS, *others]:
        names: dict[str, list[str]] = {}
        for test in tests:
            if test.row == row:
                names.setdefault(test.file, []).append(test.name)
        cells = "<br>".join(f"{file}: {', '.join(map(_code, tests))}" for file, tests in names.items())
        short, whole = LONG.get(row, ("whole", "`make test`"))
        lines.append(f"| {row} | {ROWS.get(row, '')} | {cells or '**none yet**'} | {short} | {whole} |")
    return "\n".join(lines)


def _code(name: str) -> str:
    return f"`{name}`"


def written(text: str) -> list[tuple[str, str]]:
    """(file, test) of every test that a table names."""
    pairs: list[tuple[str, str]] = []
    for file, names in re.findall(r"(test_\w+\.py|[\w/]+/test_\w+\.py): ((?:`[\w:]+`(?:, )?)+)", text):
        pairs += [(file, name) for name in re.findall(r"`([\w:]+)`", names)]
    return pairs


def scripts() -> str:
    return "\n".join(
        ["| row | script |", "|---|---|", *(f"| {row} | {words} |" for row, words in SCRIPTS.items())]
    )


V_BEGIN, V_END = "<!-- servers: made by python -m tests.rows --write -->", "<!-- end of servers -->"
_PEERS: Final = "peers/test_opcua_rows.py"


def servers(root: Path = ROOT) -> str:
    """What OPC UA servers of other people show of the rows U, and why not the rest: from the suite's classes and their CANNOT."""
    tree = ast.parse((root / _PEERS).read_text(encoding="utf-8"))
    said = _said(tree)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    tests: dict[str, list[str]] = {}
    for test in found(root):
        if test.file == _PEERS:
            tests.setdefault(test.name.rpartition("::")[2], []).append(test.row)
    kinds = {name: _cannot(node, said) for name, node in classes.items() if name.startswith("Test")}
    lines = [f"| row | {' | '.join(kinds)} |".replace("Test", ""), "|---" * (1 + len(kinds)) + "|"]
    for row in (row for row in ROWS if row.startswith("U")):
        mine = [name for name, rows in tests.items() if row in rows]
        cells = [_shown(row, mine, cannot) for cannot in kinds.values()]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(row: str, tests: list[str], cannot: dict[str, str]) -> str:
    left = [name for name in tests if name not in cannot]
    if left:
        return "shown"
    reasons = [cannot[name] for name in [row, *tests] if name in cannot]
    return reasons[0] if reasons else "**not shown, not declared**"


def _said(tree: ast.Module) -> dict[str, ast.expr]:
    """What the names of a module stand for: reasons, and tables of them that several classes share."""
    names: dict[str, ast.expr] = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            names |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}
    return names


def _cannot(node: ast.ClassDef, said: dict[str, ast.expr]) -> dict[str, str]:
    for child in node.body:
        if not isinstance(child, ast.AnnAssign):
            continue
        value = said.get(child.value.id) if isinstance(child.value, ast.Name) else child.value
        if isinstance(value, ast.Dict):
            pairs = zip(value.keys, value.values, strict=True)
            return {_text(key, said): _text(text, said) for key, text in pairs}
    return {}


def _text(node: ast.expr | None, said: dict[str, ast.expr]) -> str:
    meant = said[node.id] if isinstance(node, ast.Name) else node
    return str(ast.literal_eval(meant or ast.Constant("")))


def between(text: str, begin: str, made: str, end: str) -> str:
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{made}\n\n{end}{after}"


def write(readme: Path = README) -> None:
    text = between(readme.read_text(encoding="utf-8"), BEGIN, table(list(found())), END)
    text = between(text, S_BEGIN, scripts(), S_END)
    readme.write_text(between(text, V_BEGIN, servers(), V_END), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.rows", description="The table of the fault list.")
    parser.add_argument("--write", action="store_true", help="write it into tests/README.md")
    if parser.parse_args().write:
        write()
    missing = without_test(list(found()))
    words = ", ".join(missing) or "none"
    sys.stdout.write(f"rows without a test: {words}\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
