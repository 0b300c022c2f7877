"""`collector discover ADDRESS`: what an OPC UA server or an MQTT broker has to say, without any configuration; with --write, a configuration.

It only reads. Whom nobody trusts yet is asked for nothing but his certificate; a password comes from the keyboard, a
variable or a file, never from the command line, where every user of the computer could read it.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collector.cli.common import say
from collector.cli.exits import Exit

if TYPE_CHECKING:
    from adapters.discovery import Report, Wishes
    from collector.discover import Target, Typed
    from config.writing import Written


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "discover",
        help="look at an OPC UA machine or an MQTT broker without configuration; --write makes one",
    )
    parser.add_argument("url", metavar="ADDRESS", help="opc.tcp://host:4840, mqtts://host or mqtt://host")
    parser.add_argument("--write", type=Path, metavar="FILE", help="create or extend this configuration")
    parser.add_argument("--json", action="store_true", help="everything that was found, for scripts")
    parser.add_argument("--under", default="", metavar="PATH", help="propose only what is below this path")
    parser.add_argument(
        "--select", default="", metavar="GLOB", help="propose only paths like this: '*/Axes/*'"
    )
    parser.add_argument("--machine", default="", metavar="ID", help="everything belongs to this machine")
    parser.add_argument("--name", default="", help="name of the source; left out: after its address")
    parser.add_argument(
        "--for",
        dest="watch",
        default="",
        metavar="10s",
        help="how long to listen (MQTT: 10s) or to watch values change (OPC UA: 5s)",
    )
    parser.add_argument(
        "--max-nodes",
        type=_count,
        default=20_000,
        metavar="N",
        help="nodes or topics to look at, at most",
    )
    parser.add_argument("--max-depth", type=_depth, default=24, metavar="N")
    parser.add_argument("--max-seconds", type=_count, default=120, metavar="N", help="for looking around")
    _add_entrance(parser)
    parser.set_defaults(main=main)


def _add_entrance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--username", default="")
    parser.add_argument("--password-env", metavar="NAME", help="the variable that holds the password")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="the file that holds it")
    parser.add_argument(
        "--security",
        choices=["none", "sign", "sign_and_encrypt"],
        default="",
        help="none only by name",
    )
    parser.add_argument(
        "--fingerprint", metavar="SHA256", help="trust the machine if it shows this; asks nothing"
    )
    parser.add_argument("--ca", type=Path, metavar="FILE", help="mqtts: who signed the broker's certificate")
    parser.add_argument(
        "--rebirth",
        action="store_true",
        help="MQTT: write rebirth: true: Sparkplug nodes may be asked for births",
    )
    parser.add_argument("-y", "--yes", action="store_true", help="trust whoever answers now")
    parser.add_argument(
        "--state", default="", metavar="FOLDER", help="state folder; default: beside the file"
    )


def _count(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError("a whole number from 1 to 1000000")
    return int(text)


def _depth(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) <= 100:
        raise argparse.ArgumentTypeError("a whole number from 1 to 100")
    return int(text)


def main(arguments: argparse.Namespace) -> int:
    from collector.discover import Unusable, target_of
    from config.writing_text import Unwritable

    try:
        wishes = _wishes(arguments)
        target = target_of(_typed(arguments))
    except Unwritable as error:
        say(str(error))
        return Exit.CONFIG
    except (Unusable, OSError) as error:
        say(str(error))
        return Exit.USAGE
    return _run(target, wishes, arguments)


def _wishes(arguments: argparse.Namespace) -> Wishes:
    from adapters.discovery import Wishes
    from adapters.settings import parse_duration
    from collector.discover import Unusable

    try:
        watch = parse_duration(arguments.watch or ("5s" if arguments.url.startswith("opc.") else "10s"))
    except ValueError as error:
        raise Unusable(f"--for: {error}") from None
    if arguments.machine and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", arguments.machine) is None:
        raise Unusable("--machine: letters, digits and . _ -")
    return Wishes(
        arguments.max_nodes, arguments.max_depth, float(arguments.max_seconds), watch,
        arguments.under, arguments.select, arguments.machine,
    )  # fmt: skip


def _typed(arguments: argparse.Namespace) -> Typed:
    from collector.discover import Typed, Unusable

    if arguments.write and arguments.state:
        raise Unusable("--state cannot stand beside --write: the file says where its state is")
    return Typed(
        arguments.url, arguments.name, arguments.security, arguments.username, _password(arguments),
        arguments.state, arguments.write, str(arguments.ca.resolve()) if arguments.ca else "", arguments.rebirth,
    )  # fmt: skip


def _password(arguments: argparse.Namespace) -> Any:
    """How it is written into a configuration, and what it is; None where there is none."""
    from adapters.discovery import Reference
    from collector.discover import Unusable

    if arguments.password_env:
        if not os.environ.get(arguments.password_env):
            raise Unusable(f"the environment variable {arguments.password_env} is not set")
        return Reference(f"${{env:{arguments.password_env}}}"), os.environ[arguments.password_env]
    if arguments.password_file:
        try:
            text = arguments.password_file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise Unusable(f"{arguments.password_file} is not UTF-8 text") from None
        return Reference(f"${{file:{_from_config(arguments)}}}"), text
    if not arguments.username or arguments.security == "none":
        return None
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Unusable("nobody to ask for the password here: give --password-env or --password-file")
    try:
        typed = getpass.getpass(f"Password of {arguments.username}: ")
    except EOFError:
        raise Unusable("no password was typed") from None
    return Reference("${env:COLLECTOR_PASSWORD}"), typed


def _from_config(arguments: argparse.Namespace) -> Path:
    """The password's file as the configuration has to name it."""
    whole = Path(arguments.password_file).resolve()
    folder = arguments.write.resolve().parent if arguments.write else Path.cwd()
    return whole.relative_to(folder) if whole.is_relative_to(folder) else whole


def _run(target: Target, wishes: Wishes, arguments: argparse.Namespace) -> int:
    from adapters.errors import AdapterError, NotConnected
    from collector.discover import look
    from collector.discover_show import progress_bar
    from collector.discover_trust import trusted

    try:
        if not trusted(target, arguments):
            return Exit.PROBLEMS
        with progress_bar() as progress:
            report = asyncio.run(look(target, wishes, progress))
    except AdapterError as error:
        say(f"{error}\n    {error.remedy}" if error.remedy else str(error))
        return Exit.UNAVAILABLE if isinstance(error, NotConnected) else Exit.PROBLEMS
    return _told(target, report, arguments)


def _told(target: Target, report: Report, arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from collector.discover_show import as_json, left_out, show
    from config.writing_text import Unwritable

    written, refusal = None, ""
    try:
        written = _written(target, report, arguments.write)
    except Unwritable as error:
        refusal = f"{arguments.write} was not changed: {error}"
    if arguments.json:
        print(as_json(report, written))
    else:
        show(report, Console())
    if refusal:
        say(refusal)
        return Exit.CONFIG
    for warning in report.warnings:
        say(f"warning: {warning}")
    if report.proposal.left_out:
        say("Left out:")
        say("\n".join(left_out(report.proposal)))
    return _ended(report, written)


def _written(target: Target, report: Report, file: Path | None) -> Written | None:
    from config.writing import extend

    return extend(file, report.proposal, target.env, target.settings.url) if file else None


def _ended(report: Report, written: Written | None) -> int:
    from collector.discover_show import summary

    if written is not None:
        say("\n".join(summary(written)))
        if "password" in report.proposal.source and written.new_source:
            say(
                f"  The password is looked up as {report.proposal.source['password']} when the collector runs."
            )
    elif report.proposal.count:
        say(f"{report.proposal.count} signals could be collected: add --write collector.yaml")
    if not report.proposal.count:
        say("Nothing was found that can be collected.")
        return Exit.PROBLEMS
    return Exit.OK
