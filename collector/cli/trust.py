"""`collector trust SOURCE`: see who answers at the address of an OPC UA source, and trust exactly that machine after a yes.

The machine is asked without credentials, so nothing is given away to a stranger. What is trusted is stored in the state
folder and not in the configuration, which belongs to whoever wrote it; `--print` gives the line for those who want it there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.audit import note
from collector.cli.common import accepted, add_config, heed_source, load_config, say
from collector.cli.exits import Exit
from collector.trusting import confirmed, hindrance, rows
from collector.words import printable

if TYPE_CHECKING:
    from adapters.opcua.security import Gate
    from adapters.opcua.trust_show import Shown


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "trust", help="show the certificate of an OPC UA machine, and trust it after a yes"
    )
    parser.add_argument("source", nargs="?", help="name of the source, as in the configuration")
    add_config(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask: trust whoever answers now")
    parser.add_argument(
        "--fingerprint", metavar="SHA256", help="trust it only if it shows this; asks nothing"
    )
    parser.add_argument(
        "--print", action="store_true", help="store nothing; print the line for the configuration"
    )
    parser.add_argument("--list", action="store_true", help="what is trusted, for every source")
    parser.add_argument("--remove", action="store_true", help="trust this source's certificate no more")
    parser.add_argument(
        "--renew", action="store_true", help="make the collector's next own certificate, not yet in use"
    )
    parser.add_argument(
        "--adopt", action="store_true", help="use the one that --renew made, from the next connection on"
    )
    parser.add_argument("--json", action="store_true", help="data for scripts")
    parser.add_argument("--url", help="only this address, of a source that has several")
    parser.set_defaults(main=main)


def main(arguments: argparse.Namespace) -> int:
    from adapters.errors import AdapterError

    heed_source(arguments)
    settings = accepted(load_config(arguments.config))
    if settings is None:
        return Exit.CONFIG
    state = Path(settings.state)
    try:
        if arguments.renew or arguments.adopt:
            return _own(state, arguments)
        if arguments.list:
            return _list(state, as_json=arguments.json)
        if arguments.remove:
            return _remove(state, arguments.source)
        source = None if arguments.source is None else settings.sources.get(arguments.source)
        if source is None or source.type != "opcua" or source.security == "none":
            say(_which(arguments.source, settings))
            return Exit.USAGE
        return _each(source, state, arguments)
    except AdapterError as error:
        say(f"{error}\n    {error.remedy}" if error.remedy else str(error))
        return Exit.PROBLEMS


def _which(given: str | None, settings: Any) -> str:
    named = [n for n, s in settings.sources.items() if s.type == "opcua" and s.security != "none"]
    asked = (
        "Which source?"
        if given is None
        else f"{printable(given)} is no OPC UA source with a protected connection."
    )
    return f"{asked} There are: {', '.join(named) or 'none'}"


def _each(source: Any, state: Path, arguments: argparse.Namespace) -> int:
    """Every address of the source, or the one that is asked for; one that does not answer hinders no other."""
    arguments.urls = [source.url, *source.also]
    if arguments.url not in (None, *arguments.urls):
        say(f"{printable(arguments.url)} is no address of {arguments.source}: {', '.join(arguments.urls)}")
        return Exit.USAGE
    urls = arguments.urls if arguments.url is None else [arguments.url]
    return max(_trust(_gate(arguments.source, source, url, state), arguments) for url in urls)


def _gate(name: str, source: Any, url: str, state: Path) -> Gate:
    from adapters.clock import SystemClock
    from adapters.opcua.security import Gate

    one = source.model_copy(update={"url": url})
    return Gate(name, one, str(state), SystemClock().wall_now)


def _trust(gate: Gate, arguments: argparse.Namespace) -> int:
    from adapters.errors import AdapterError
    from adapters.opcua.trust_show import look

    try:
        shown = asyncio.run(look(gate))
    except AdapterError as error:
        say(f"{error}\n    {error.remedy}" if error.remedy else str(error))
        return Exit.PROBLEMS
    refusal, stored = _decide(gate, shown, arguments)
    if arguments.json:
        print(
            json.dumps(
                {
                    "source": gate.source,
                    "url": gate.settings.url,
                    **shown.as_json(),
                    "stored": stored,
                    "refusal": refusal,
                }
            )
        )
    if refusal:
        say(refusal)
    elif stored:
        say(f"Trusted for {gate.source}. A collector that runs connects within half a minute.")
    return Exit.PROBLEMS if refusal else Exit.OK


def _decide(gate: Gate, shown: Shown, arguments: argparse.Namespace) -> tuple[str, bool]:
    """Why nothing was stored (or nothing, when that is well), and whether it was."""
    from adapters.opcua.trust import TrustFolder

    if not arguments.json:
        _describe(gate, shown)
    if arguments.print:
        if not arguments.json:
            print(f'server_certificate_sha256: "{shown.as_json()["sha256"]}"')
        return "", False
    if shown.trusted:
        say("This certificate is trusted already.")
        return "", False
    refusal = hindrance(gate, shown) or confirmed(gate, shown, arguments)
    if refusal:
        return f"{refusal} Nothing was stored.", False
    TrustFolder(gate.state_dir).pin(gate.source, shown.certificate, gate.settings.url, arguments.urls)
    note(gate.state_dir, "trusted", source=gate.source, url=gate.settings.url, sha256=shown.fingerprint)
    return "", True


def _describe(gate: Gate, shown: Shown) -> None:
    print(f"{gate.source} at {gate.settings.url}")
    for label, words in rows(shown.as_json()):
        print(f"  {label:<22}{printable(words)}")


def _list(state: Path, *, as_json: bool) -> int:
    from adapters.opcua.trust import TrustFolder
    from adapters.opcua.trust_show import described

    folder = TrustFolder(state)
    rows = [{"source": name, **described(one)} for name in folder.sources() for one in folder.pinned(name)]
    rows += [{"source": "", **described(one)} for one in folder.stock("").trusted]
    if as_json:
        print(json.dumps(rows))
        return Exit.OK
    for row in rows:
        print(
            f"{row['source'] or 'any source':<16} {row['sha256']}  until {row['valid_until']}  {printable(row['subject'])}"
        )
    if not rows:
        say(f"Nothing is trusted in {folder.path}.")
    return Exit.OK


def _remove(state: Path, source: str | None) -> int:
    """Also for a source that the configuration has no more."""
    from adapters.opcua.trust import TrustFolder

    folder = TrustFolder(state)
    known = folder.sources()
    gone = folder.unpin(source) if source is not None and source in known else []
    if gone:
        note(state, "trusted no more", source=source, certificates=len(gone))
        say(f"{source}: its certificate is trusted no more.")
    else:
        say(f"Nothing to remove. Certificates are trusted by name for: {', '.join(known) or 'no source'}")
    return Exit.OK if gone else Exit.PROBLEMS


def _own(state: Path, arguments: argparse.Namespace) -> int:
    """Two steps, so that no machine meets a certificate that nobody has told it of."""
    from adapters.opcua.certificate import adopt, prepare

    made = (adopt if arguments.adopt else prepare)(str(state))
    file = made.file.with_suffix(".der")
    note(state, "own certificate adopted" if arguments.adopt else "own certificate made", name=made.name)
    if arguments.json:
        print(json.dumps({"file": str(file), "name": made.name, "in_use": bool(arguments.adopt)}))
        return Exit.OK
    print(f"{file}\n{made.name}")
    if arguments.adopt:
        say(
            "In use from the next connection on. Machines that do not trust it yet will refuse it, and say so."
        )
    else:
        say("Not in use yet: have every machine trust this file, then run `collector trust --adopt`.")
    return Exit.OK
