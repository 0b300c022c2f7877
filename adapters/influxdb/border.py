"""urllib3's errors as ours: every one by name, and a test proves that none is missing."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import urllib3

from adapters.errors import AdapterError, Misconfigured, NotConnected

BORDER: Mapping[str, type[AdapterError]] = {
    "PoolError": NotConnected,
    "RequestError": NotConnected,
    "ProxyError": NotConnected,
    "DecodeError": NotConnected,
    "ProtocolError": NotConnected,
    "MaxRetryError": NotConnected,
    "HostChangedError": NotConnected,
    "TimeoutStateError": NotConnected,
    "TimeoutError": NotConnected,
    "ReadTimeoutError": NotConnected,
    "ConnectTimeoutError": NotConnected,
    "NewConnectionError": NotConnected,
    "NameResolutionError": NotConnected,
    "EmptyPoolError": NotConnected,
    "FullPoolError": NotConnected,
    "ClosedPoolError": NotConnected,
    "ResponseError": NotConnected,
    "ResponseNotChunked": NotConnected,
    "BodyNotHttplibCompatible": NotConnected,
    "IncompleteRead": NotConnected,
    "InvalidChunkLength": NotConnected,
    "InvalidHeader": NotConnected,
    "HeaderParsingError": NotConnected,
    "UnrewindableBodyError": NotConnected,
    "HTTPError": NotConnected,
    "SSLError": Misconfigured,
    "LocationValueError": Misconfigured,
    "LocationParseError": Misconfigured,
    "URLSchemeUnknown": Misconfigured,
    "ProxySchemeUnknown": Misconfigured,
    "ProxySchemeUnsupported": Misconfigured,
}
"""Every error of urllib3, by name."""


def translate(error: Exception, url: str) -> AdapterError:
    """The library's error as one of the four."""
    if isinstance(error, urllib3.exceptions.SSLError) and not _is_cut_off(error):
        return _untrusted(str(error), url)
    kind = NotConnected if _is_cut_off(error) else BORDER.get(type(error).__name__, NotConnected)
    remedy = (
        "Is the server running, and is the address right?" if kind is NotConnected else "Correct the url."
    )
    return kind(f"InfluxDB at {url}: {_plainly(error)}", remedy)


def _is_cut_off(error: Exception) -> bool:
    """An encrypted connection that ended while we wrote, which says nothing about who was there. An end while we read (with a
    reason) is met in the handshake alone: whoever ends that speaks no TLS.
    """
    ends = (one for one in (error.__cause__, *error.args) if isinstance(one, ssl.SSLEOFError))
    return any(getattr(one, "reason", None) is None for one in ends)


def _plainly(error: Exception) -> str:
    """What happens every day in the words of every other adapter; what is rare in the library's, with its name."""
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "its name is not known"
    if _is_cut_off(error):
        return "the connection was lost"
    reason = next((one for one in (error.__cause__, *error.args) if isinstance(one, OSError)), None)
    if reason is not None and reason.strerror:
        return reason.strerror[0].lower() + reason.strerror[1:]
    if isinstance(reason or error, TimeoutError | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    return "the connection was lost" if reason is not None else f"{type(error).__name__}: {error}"


def _untrusted(reason: str, url: str) -> Misconfigured:
    return Misconfigured(
        f"InfluxDB at {url} is not who it should be, or does not speak TLS: {' '.join(reason.split())}",
        "If its certificate comes from an authority of your own, name that authority's file as ca.",
    )
