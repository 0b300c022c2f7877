"""What is asked of the OPC UA faces' security: words only, so that `--help` and configurations need neither library nor key.

Left out, machines are as they come from the factory: everything is offered, and anybody may come in. Only what somebody asks
for makes the written configuration ask for it too: a lab that does not care about certificates runs without any.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from simulators.errors import SimulatorError

OFFERS: Final = ("none", "sign", "encrypt")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ENCRYPT: Final = "passwords need encrypted connections: offer 'encrypt' too, or leave out what is offered"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who signs in with a password. operator: may write what can be written; else a reader."""

    name: str
    password: str
    operator: bool = False


@dataclass(frozen=True, slots=True)
class Security:
    """offers: of `OFFERS`; empty: not asked for, so all. anonymous: whether one gets in without a name (as a reader, where
    there are accounts). pki: folder of key and certificates that outlive the run; None: made for this run. trust: folder of
    the clients' certificates that are let in; None: all.
    """

    offers: tuple[str, ...] = ()
    accounts: tuple[Account, ...] = ()
    anonymous: bool = True
    pki: Path | None = None
    trust: Path | None = None

    @property
    def offered(self) -> tuple[str, ...]:
        """What there is to choose from; an open side door would make a list of trusted clients pointless."""
        return self.offers or (OFFERS if self.trust is None else OFFERS[1:])

    def has_certificate(self) -> bool:
        return self.offered != ("none",)

    def account(self) -> Account | None:
        """Who reads: a collector needs no operator's rights, if there is somebody with less."""
        readers = [one for one in self.accounts if not one.operator]
        return next(iter((*readers, *self.accounts)), None)

    def mode(self) -> str:
        """The key `security` of a collector's source: the strongest offered, where anything of this was asked for."""
        if not (self.offers or self.accounts or self.trust):
            return "none"
        if "encrypt" in self.offered:
            return "sign_and_encrypt"
        return "sign" if "sign" in self.offered else "none"

    def checked(self) -> "Security":
        """Itself; SimulatorError where it contradicts itself."""
        twice = {one.name for one in self.accounts if sum(two.name == one.name for two in self.accounts) > 1}
        if twice:
            raise SimulatorError(f"two users are called '{twice.pop()}'.")
        if self.accounts and "encrypt" not in self.offered:
            raise SimulatorError(_ENCRYPT + ".")
        if not self.anonymous and not self.accounts:
            raise SimulatorError("nobody could sign in: name a user, or let everybody in.")
        if self.trust is not None and not self.has_certificate():
            raise SimulatorError("without security nobody shows a certificate: offer 'sign' or 'encrypt'.")
        return self


def offers(text: str) -> tuple[str, ...]:
    """`none,encrypt` or `all`, in the order of `OFFERS`; ValueError in words."""
    words = set(OFFERS) if text == "all" else {word.strip() for word in text.split(",")}
    if not words <= set(OFFERS):
        raise ValueError(f"'{text}' is no security: write {', '.join(OFFERS)}, several with commas, or all")
    return tuple(word for word in OFFERS if word in words)


def account(text: str) -> Account:
    """`name:password`; ValueError in words, which never repeat the password."""
    name, colon, password = text.partition(":")
    if not colon:
        raise ValueError("a user is written name:password")
    return _account(name, password, operator=False)


def _account(name: str, password: str, *, operator: bool) -> Account:
    if not NAME.fullmatch(name):
        raise ValueError(f"'{name[:64]}' is no name of a user: letters, digits, . _ - only")
    if not password or not password.isprintable():
        raise ValueError(f"the user {name} needs a password of visible letters")
    return Account(name, password, operator)


class UserEntry(msgspec.Struct, forbid_unknown_fields=True):
    """Of a scenario or a file of users; one of the passwords."""

    name: str
    password: str = ""
    password_file: str = ""
    role: str = "reader"


class SecurityEntry(msgspec.Struct, forbid_unknown_fields=True):
    """The same words in a scenario (`security:`) and in tests (`sim_workshop(security={…})`)."""

    offers: str | list[str] = ""
    users: list[UserEntry] = []
    anonymous: bool = True
    pki: str = ""
    trust: str = ""

    def made(self, base: Path) -> Security:
        """Paths begin at `base`. ValueError or SimulatorError in words."""
        wanted = self.offers if isinstance(self.offers, str) else ",".join(self.offers)
        return Security(
            offers(wanted) if wanted else (),
            tuple(_user(entry, base) for entry in self.users),
            self.anonymous,
            base / self.pki if self.pki else None,
            base / self.trust if self.trust else None,
        ).checked()


def security_of(given: Mapping[str, Any], base: Path) -> Security:
    """From a mapping, as a test writes it; SimulatorError in words."""
    try:
        return msgspec.convert(given, SecurityEntry).made(base)
    except (msgspec.ValidationError, ValueError) as error:
        raise SimulatorError(f"security: {error}") from None


def users_of(rows: Any, base: Path) -> Sequence[Account]:
    """What a file of users holds: a list of entries. ValueError in words."""
    return [_user(entry, base) for entry in msgspec.convert(rows, list[UserEntry])]


def _user(entry: UserEntry, base: Path) -> Account:
    if entry.role not in ("reader", "operator"):
        raise ValueError(f"the user {entry.name} has the role '{entry.role}': write reader or operator")
    if bool(entry.password) == bool(entry.password_file):
        raise ValueError(f"the user {entry.name} needs a password or a password_file")
    return _account(entry.name, entry.password or _secret(entry, base), operator=entry.role == "operator")


def _secret(entry: UserEntry, base: Path) -> str:
    try:
        return (base / entry.password_file).read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"the password of {entry.name} cannot be read: {error}") from None
