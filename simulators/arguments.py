"""What the commands understand on the command line: ports, times, durations, speeds; refused in words, before anything runs."""

import argparse
import re
from datetime import UTC, datetime

from simulators.clock import MILLISECOND
from simulators.faults.wish import Wish

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "": 1.0}

FAULT = re.compile(
    r"([A-Za-z0-9_-]+)(?:\.([A-Za-z0-9_]+))?:([a-z_]+)(?:=(-?\d+(?:\.\d+)?))?(?:@(\d[\d.]*[a-z]*))?(?:\+(\d[\d.]*[a-z]*))?"
)


Refused = argparse.ArgumentTypeError
"""What the functions here raise, in words."""


def machine_id(text: str) -> str:
    """A name that can stand in a topic, a file name and an address."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", text):
        raise Refused(f"'{text}' is no machine id: letters, digits, - and _ only")
    if text in ("mqtt", "broker", "control"):
        raise Refused(f"'{text}' is the broker's name or the control API's; call the machine otherwise")
    return text


def port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port (0 to 65535)")
    return int(text)


def count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of changes (1 or more)")
    return int(text)


def positive(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text) or float(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no speed: simulated seconds per second, above 0")
    return float(text)


def speed(text: str) -> float:
    """As `positive`; 0 stands for time that passes only by `advance`."""
    return 0.0 if re.fullmatch(r"0(\.0*)?", text) else positive(text)


def seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|min|h|)", text)
    if match is None or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no duration: write 500ms, 30s, 5m or 1h")
    return float(match[1]) * SECONDS[match[2]]


def fault(text: str) -> tuple[float, Wish]:
    """`MACHINE[.SIGNAL]:FAULT[=AMOUNT][@START][+LENGTH]` to the second of the start and the fault."""
    match = FAULT.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no fault: write cnc-1:tool_break@30s+10s or cnc-1.spindle_load:bias=5@1m"
        )
    machine, signal, name, amount, start, length = match.groups()
    wish = Wish(
        machine,
        name,
        signal or "",
        None if amount is None else float(amount),
        None if length is None else seconds(length),
    )
    return (seconds(start) if start else 0.0), wish


def moment(text: str) -> int:
    """ISO 8601 to ns since 1970 UTC, whole milliseconds; without a zone it is UTC."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no time: write 2026-01-31T06:00:00Z") from None
    read = read if read.tzinfo else read.replace(tzinfo=UTC)
    since = read - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000) * MILLISECOND


def peer(text: str) -> tuple[str, int]:
    """`host:port` of a TCP service; an IPv6 address in brackets."""
    host, colon, number = text.rpartition(":")
    if not colon or not host or not number.isdecimal() or not 0 < int(number) <= 65_535:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no address: write host:port, for example 127.0.0.1:1883"
        )
    return host.strip("[]"), int(number)
