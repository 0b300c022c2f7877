"""Whether the credentials may do more than they need to: what leaks from a shop floor should not be able to empty a database.

API v2: an authorization that may read `authorizations` can be asked for them (GET /api/v2/authorizations); a token for one bucket may not, and gets
none. Permissions are only read and write: InfluxDB has no token that writes and cannot delete (POST /api/v2/delete needs write
on the bucket, influxdata/docs-v2 #5130), so what can be found is what goes beyond the one bucket. InfluxDB Cloud shows `redacted` in place of
tokens: then it is said that this one may look at others, which is already more than it needs.
API v1: `SHOW USERS` is answered to administrators only, and to everybody where authentication is off.

Where the server keeps it to itself, nothing is said: this is advice, and never stands in the way of a write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from adapters.errors import AdapterError
from adapters.influxdb.settings import InfluxDbSink
from adapters.influxdb.wire import Reply, Wire

_NAMED = 4
_LONGEST = 1024 * 1024


def excess(wire: Wire, settings: InfluxDbSink) -> tuple[str, str]:
    """What the credentials may do beyond their work, and what to do about it; two empty texts for nothing or unknown."""
    try:
        if settings.api == "v1":
            return _v1(wire, settings) if settings.password is not None else ("", "")
        return _v2(wire, settings) if settings.token is not None else ("", "")
    except (AdapterError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "", ""  # an answer that nobody foresaw says nothing about rights


def _v1(wire: Wire, settings: InfluxDbSink) -> tuple[str, str]:
    rows = _results(wire.request("GET", "/query", {"q": "SHOW USERS"}))
    if rows is None:
        return "", ""
    users = {str(name): bool(admin) for name, admin in rows}
    if users.get(settings.username):
        remedy = (
            f"Make a user for the collector: GRANT ALL ON {settings.database} TO a user without admin rights."
        )
        return f"the user {settings.username} is an administrator: it may delete every database", remedy
    if settings.username not in users:
        remedy = "Turn authentication on (auth-enabled in the [http] section of influxdb.conf)."
        return "the server asks nobody for a password: whoever reaches it may delete everything", remedy
    return "", ""


def _results(reply: Reply) -> list[list[Any]] | None:
    """The rows of the only series; None if the answer is an error."""
    if reply.status != 200:
        return None
    (result,) = json.loads(reply.text)["results"]
    if "error" in result:
        return None
    return list(result["series"][0].get("values", ()))


def _v2(wire: Wire, settings: InfluxDbSink) -> tuple[str, str]:
    reply = wire.request("GET", "/api/v2/authorizations", longest=_LONGEST)
    known = json.loads(reply.text)["authorizations"] if reply.status == 200 else []
    if not known or settings.token is None:
        return "", ""
    remedy = f"Make a token that may read and write the bucket {settings.bucket} only."
    secret = settings.token.get_secret_value()
    own = next((one for one in known if one.get("token") == secret), None)
    if own is None:
        return "the token may look at other tokens, which is more than it needs", remedy
    beyond = list(dict.fromkeys(_beyond(own, settings)))
    if not beyond:
        return "", ""
    more = f" and {len(beyond) - _NAMED} more" if len(beyond) > _NAMED else ""
    return f"the token may also {', '.join(beyond[:_NAMED])}{more}", remedy


def _beyond(own: Mapping[str, Any], settings: InfluxDbSink) -> Iterator[str]:
    """Permissions that are not for our bucket. One without an id or name is for all of its sort."""
    for permission in own["permissions"]:
        resource = permission["resource"]
        if resource["type"] != "buckets":
            yield f"{permission['action']} {resource['type']}"
        elif not resource.get("id") and not resource.get("name"):
            yield f"{permission['action']} all buckets" + (
                " (and delete them)" if permission["action"] == "write" else ""
            )
        elif resource.get("name", settings.bucket) != settings.bucket:
            yield f"{permission['action']} the bucket {resource['name']}"
