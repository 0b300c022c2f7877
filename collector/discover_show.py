"""A report as a machinist reads it: a tree whose marks tell by shape and by colour what would be collected and what not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar
from rich.tree import Tree

from adapters.discovery import Branch, Progress, Proposal, Report
from collector.words import printable

if TYPE_CHECKING:
    from config.writing import Written

_MARKS = {
    "machine": ("■", "bold cyan"),
    "folder": ("▸", "cyan"),
    "signal": ("●", "green"),
    "left": ("○", "dim"),
    "fact": ("·", "yellow"),
}
_LEGEND = "● would be collected   ○ would not (the reason stands beside it)"
_MOST_CHILDREN = 200
_EXAMPLES = 3


def show(report: Report, console: Console) -> None:
    """Facts, then the tree, on standard output."""
    for name, words in report.facts.items():
        console.print(f"[bold]{escape(f'{name:<25}')}[/] {escape(printable(words))}", soft_wrap=True)
    top = Tree("", hide_root=True, guide_style="dim")
    for branch in report.tree:
        _grow(top, branch)
    console.print(top, soft_wrap=True)
    if report.tree:
        console.print(f"[dim]{_LEGEND}[/]", soft_wrap=True)


def _grow(tree: Tree, branch: Branch) -> None:
    mark, style = _MARKS[branch.kind]
    words = f"  [dim]{escape(printable(branch.words))}[/]" if branch.words else ""
    below = tree.add(f"[{style}]{mark}[/] {escape(printable(branch.name))}{words}")
    for child in branch.children[:_MOST_CHILDREN]:
        _grow(below, child)
    if len(branch.children) > _MOST_CHILDREN:
        below.add(f"[dim]… and {len(branch.children) - _MOST_CHILDREN} more (--json has all)[/]")


def left_out(proposal: Proposal) -> list[str]:
    """Why things are left out, the commonest reason first, with examples."""
    reasons = Counter(out.why for out in proposal.left_out)
    lines = []
    for why, count in reasons.most_common():
        some = [printable(out.what) for out in proposal.left_out if out.why == why][:_EXAMPLES]
        lines.append(f"  {count} × {why}: {', '.join(some)}{', …' if count > len(some) else ''}")
    return lines


def summary(written: Written) -> list[str]:
    """What was added to the file."""
    unlike = f"  Not compared: {written.paths} entries with path: (what they read may have been added again)."
    apart = [unlike] if written.paths else []
    if not written.changed:
        return [f"{written.file}: nothing new, the file is as it was.", *apart]
    lines = [f"{written.file}: {'created' if written.created else 'extended'}"]
    if written.new_source:
        lines.append(f"  source {written.source}")
    for machine, count in written.machines.items():
        said = f"{count} signals" if count else "every metric that its births name (adopt)"
        lines.append(f"  {'machine' if machine in written.new else 'to machine'} {machine}: {said}")
    return [*lines, *apart]


def as_json(report: Report, written: Written | None) -> str:
    """Everything, for scripts."""
    proposal = report.proposal
    whole: dict[str, Any] = {
        **report.data,
        "warnings": report.warnings,
        "proposal": {
            "source": {proposal.name: dict(proposal.source)},
            "machines": [
                {
                    "id": m.id,
                    "label": m.label,
                    "read": [
                        {**r.keys, **({"signals": list(r.signals)} if r.signals else {})} for r in m.reads
                    ],
                }
                for m in proposal.machines
            ],
            "left_out": [{"what": out.what, "why": out.why} for out in proposal.left_out],
        },
        "written": None
        if written is None
        else {
            "file": str(written.file),
            "created": written.created,
            "new_source": written.new_source,
            "machines": written.machines,
            "paths_not_compared": written.paths,
        },
    }
    return json.dumps(whole, ensure_ascii=False)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """On standard error, and only where somebody sees it."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("connecting", total=None)

        def told(what: str, done: int, most: int) -> None:
            bar.update(task, description=what, completed=done, total=most or None)

        yield told
