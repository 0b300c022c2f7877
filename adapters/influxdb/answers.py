"""What an answer of the server means. Only 204 means stored: a captive portal's 200 has lost data elsewhere.

Sources: InfluxDB 1.8, 2.7 and 3 write endpoints; RFC 9110, 10.2.3 (Retry-After).
"""

from __future__ import annotations

import math
import re
from email.utils import parsedate_to_datetime
from enum import Enum
from urllib.parse import urlsplit

from adapters.errors import Misconfigured, NotConnected, Throttled
from adapters.influxdb.wire import Reply, message_of

LONGEST_WAIT = 300.0
USUAL_WAIT = 5.0


class Verdict(Enum):
    """What became of the lines of a request. BAD: some of them will never be taken. TOO_LARGE: too many at once."""

    STORED = 1
    BAD = 2
    TOO_LARGE = 3


class Missing(Misconfigured):
    """The bucket or database is not there."""


def judge(reply: Reply, url: str, now: int) -> Verdict:
    """The verdict, or NotConnected, Throttled, Misconfigured. now: ns, to understand a date in Retry-After."""
    status = reply.status
    if status == 204:
        return Verdict.STORED
    if status in (400, 422):
        return _bad(reply, url)
    if status == 413:
        return Verdict.TOO_LARGE
    if status in (429, 503):
        wait = retry_after(_header(reply, "retry-after"), now)
        raise Throttled(f"InfluxDB at {url} asks for {wait:g} s of patience ({_said(reply)})", wait)
    if 300 <= status < 500 and status != 408:
        raise _to_be_changed(reply, url)
    raise NotConnected(
        f"InfluxDB at {url} answered {_said(reply)}, which does not say that the values are stored",
        "Look at the log of the server; if this is not its address, correct the url.",
    )


def _bad(reply: Reply, url: str) -> Verdict:
    """Only an answer in InfluxDB's own form can condemn a value: a proxy's 400 says nothing about data."""
    if not message_of(reply):
        raise Misconfigured(
            f"{url} answered {_said(reply)}, but not as InfluxDB does", "Is this the right address?"
        )
    return Verdict.BAD


def _to_be_changed(reply: Reply, url: str) -> Misconfigured:
    said = f"InfluxDB at {url} answered {_said(reply)}"
    if reply.status in (401, 403):
        return Misconfigured(said, "Give a token (v2) or user and password (v1) that may write there.")
    if reply.status == 404 and re.search("bucket|database|org", message_of(reply)):
        return Missing(said, "Make the bucket or database, or let the collector do it: create: true.")
    if reply.status == 404:
        return Misconfigured(
            said, "This server does not know the API: try api: v1 (InfluxDB 1.x) or api: v2."
        )
    if reply.status < 400:
        host = urlsplit(_header(reply, "location")).netloc or "another place"
        return Misconfigured(
            f"{said}: it sends us to {host}, and the token is not sent there",
            "Give the final address as url.",
        )
    return Misconfigured(said, "Look at the log of the server.")


def _said(reply: Reply) -> str:
    words = message_of(reply) or " ".join(re.sub("<[^>]*>", " ", reply.text).split())[:100]
    return f"{reply.status}: {words}" if words else str(reply.status)


def _header(reply: Reply, name: str) -> str:
    return next((value for key, value in reply.headers.items() if key.lower() == name), "")


def retry_after(text: str, now: int) -> float:
    """Seconds in [0, 300]: a number of seconds or an HTTP date; anything else counts as 5 s."""
    wait = _seconds(text) if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text, re.ASCII) else _until(text, now)
    return min(wait, LONGEST_WAIT) if math.isfinite(wait) and wait >= 0 else USUAL_WAIT


def _seconds(text: str) -> float:
    return float(text)


def _until(text: str, now: int) -> float:
    try:
        return parsedate_to_datetime(text).timestamp() - now / 1e9
    except (ValueError, TypeError, OverflowError):
        return -1.0
