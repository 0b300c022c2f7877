"""What the command line says about the OPC UA faces' security; it comes on top of what a scenario says."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from simulators.arguments import Refused
from simulators.errors import SimulatorError
from simulators.faces.opcua_security import Account, Security, account, offers, users_of

Said = TypeVar("Said")


def add_security(add: Callable[..., Any]) -> None:
    """Endpoints, users, certificates."""
    add(
        "--security",
        type=_offers,
        metavar="WORDS",
        help="OPC UA: what is offered, of none, sign, encrypt (default: all)",
    )
    add(
        "--user", action="append", default=[], type=_reader, metavar="NAME:PASSWORD",
        help="OPC UA: somebody who may read",
    )  # fmt: skip
    add(
        "--operator", action="append", default=[], type=_operator, metavar="NAME:PASSWORD",
        help="OPC UA: somebody who may write as well",
    )  # fmt: skip
    add(
        "--users",
        type=Path,
        metavar="FILE",
        help="OPC UA: users from a YAML file, so that no password is on the command line",
    )
    add("--no-anonymous", action="store_true", help="OPC UA: nobody gets in without a name")
    add(
        "--pki",
        type=Path,
        metavar="DIR",
        help="OPC UA: keep key and certificates there (default: new ones for each run)",
    )
    add(
        "--trust", type=Path, metavar="DIR",
        help="OPC UA: let in only clients whose certificate lies there; strangers' are put into DIR/rejected",
    )  # fmt: skip


def security(options: argparse.Namespace, before: Security) -> Security:
    """`before`, with what the command line says. SimulatorError where it contradicts itself."""
    found = () if options.users is None else _from_file(options.users)
    given = (*options.user, *options.operator, *found)
    return replace(
        before,
        offers=options.security or before.offers,
        accounts=given or before.accounts,
        anonymous=before.anonymous and not options.no_anonymous,
        pki=before.pki if options.pki is None else options.pki.absolute(),
        trust=before.trust if options.trust is None else options.trust.absolute(),
    ).checked()


def _from_file(file: Path) -> tuple[Account, ...]:
    from simulators.scenario.reading import plain

    try:
        return tuple(users_of(plain(file), file.parent))
    except ValueError as error:
        raise SimulatorError(f"{file}: {error}") from None


def _offers(text: str) -> tuple[str, ...]:
    return _said(offers, text)


def _reader(text: str) -> Account:
    return _said(account, text)


def _operator(text: str) -> Account:
    return replace(_reader(text), operator=True)


def _said(parse: Callable[[str], Said], text: str) -> Said:
    try:
        return parse(text)
    except ValueError as error:
        raise Refused(str(error)) from None
