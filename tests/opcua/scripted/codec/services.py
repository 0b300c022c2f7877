"""Requests by the tables of OPC 10000-4, clause 5, and the ids of their encodings (NodeIds.csv, *_Encoding_DefaultBinary)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from tests.opcua import encoder as enc
from tests.opcua.scripted.codec.wire import NodeId, Reader, node_bytes

Field = tuple[str, Callable[[Reader], Any]]
R = Reader


def _many(one: Callable[[Reader], Any]) -> Callable[[Reader], Any]:
    return lambda reader: reader.many(partial(one, reader))


@dataclass(frozen=True)
class Service:
    name: str
    request: int
    response: int
    fields: Sequence[Field] = ()


SERVICES: Final = {
    service.request: service
    for service in (
        Service("FindServers", 422, 425, [("url", R.string), ("locales", _many(R.string)), ("uris", _many(R.string))]),
        Service("GetEndpoints", 428, 431, [("url", R.string), ("locales", _many(R.string)), ("profiles", _many(R.string))]),
        Service("OpenSecureChannel", 446, 449, [
            ("version", R.u32), ("kind", R.u32), ("mode", R.u32), ("nonce", R.octets), ("lifetime", R.u32),
        ]),
        Service("CloseSecureChannel", 452, 455),
        Service("CreateSession", 461, 464, [
            ("application_uri", R.string), ("product_uri", R.string), ("name", R.localized_text), ("type", R.u32),
            ("gateway", R.string), ("profile", R.string), ("discovery", _many(R.string)), ("server_uri", R.string),
            ("url", R.string), ("session_name", R.string), ("nonce", R.octets), ("certificate", R.octets),
            ("timeout", R.double), ("max_response", R.u32),
        ]),
        Service("ActivateSession", 467, 470, [
            ("signature", R.signature), ("software", _many(lambda r: (r.octets(), r.octets()))),
            ("locales", _many(R.string)), ("identity", R.extension), ("token_signature", R.signature),
        ]),
        Service("CloseSession", 473, 476, [("delete", R.boolean)]),
        Service("Cancel", 479, 482, [("handle", R.u32)]),
        Service("AddNodes", 488, 491),
        Service("Browse", 527, 530, [
            ("view", lambda r: (r.node(), r.i64(), r.u32())), ("most", R.u32),
            ("nodes", _many(lambda r: (r.node(), r.u32(), r.node(), r.boolean(), r.u32(), r.u32()))),
        ]),
        Service("BrowseNext", 533, 536, [("release", R.boolean), ("points", _many(R.octets))]),
        Service("TranslateBrowsePathsToNodeIds", 554, 557, [
            ("paths", _many(lambda r: (r.node(), r.many(lambda: (r.node(), r.boolean(), r.boolean(), r.qualified_name()))))),
        ]),
        Service("Read", 631, 634, [("age", R.double), ("times", R.u32), ("nodes", _many(R.read_wish))]),
        Service("HistoryRead", 664, 667, [
            ("details", R.extension), ("times", R.u32), ("release", R.boolean), ("nodes", _many(R.history_wish)),
        ]),
        Service("Write", 673, 676),
        Service("Call", 712, 715, [("methods", _many(R.method_call))]),
        Service("CreateMonitoredItems", 751, 754, [("subscription", R.u32), ("times", R.u32), ("items", _many(R.item_wish))]),
        Service("ModifyMonitoredItems", 763, 766, [("subscription", R.u32), ("times", R.u32), ("items", _many(R.item_change))]),
        Service("SetMonitoringMode", 769, 772, [("subscription", R.u32), ("mode", R.u32), ("items", _many(R.u32))]),
        Service("DeleteMonitoredItems", 781, 784, [("subscription", R.u32), ("items", _many(R.u32))]),
        Service("CreateSubscription", 787, 790, [
            ("interval", R.double), ("lifetime", R.u32), ("keep_alive", R.u32), ("most", R.u32), ("enabled", R.boolean),
            ("priority", R.u8),
        ]),
        Service("ModifySubscription", 793, 796, [
            ("subscription", R.u32), ("interval", R.double), ("lifetime", R.u32), ("keep_alive", R.u32), ("most", R.u32),
            ("priority", R.u8),
        ]),
        Service("SetPublishingMode", 799, 802, [("enabled", R.boolean), ("subscriptions", _many(R.u32))]),
        Service("Publish", 826, 829, [("acknowledged", _many(R.acknowledgement))]),
        Service("Republish", 832, 835, [("subscription", R.u32), ("sequence", R.u32)]),
        Service("TransferSubscriptions", 841, 844, [("subscriptions", _many(R.u32)), ("initial", R.boolean)]),
        Service("DeleteSubscriptions", 847, 850, [("subscriptions", _many(R.u32))]),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """One request: who asked (the encoded token of the session), under which handle, and its fields by name."""

    service: Service
    token: NodeId
    handle: int
    timestamp: int
    fields: dict[str, Any] = field(default_factory=dict)
    request_id: int = 0

    @property
    def name(self) -> str:
        return self.service.name

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


class Unknown(Exception):
    """A request of a type that is not in the table; args[0] is its encoding id, args[1] its handle."""


def decode_request(body: bytes, request_id: int = 0) -> Asked:
    """The request in a message body: type, RequestHeader (OPC 10000-4, 7.33), fields. Raises Truncated or Unknown."""
    reader = Reader(body)
    type_id = reader.node()
    token, timestamp, handle = reader.node(), reader.i64(), reader.u32()
    reader.u32()  # ReturnDiagnostics
    reader.string()  # AuditEntryId
    reader.u32()  # TimeoutHint
    reader.extension()  # AdditionalHeader
    service = SERVICES.get(type_id.identifier)
    if service is None or type_id.namespace:
        raise Unknown(type_id.identifier, handle)
    fields = {name: read(reader) for name, read in service.fields}
    return Asked(service, token, handle, timestamp, fields, request_id)


def answer(asked: Asked, body: bytes = b"", result: int = 0, stamp: int = 0) -> bytes:
    """A response: type, ResponseHeader (OPC 10000-4, 7.34), and its fields."""
    return enc.node(0, asked.service.response) + enc.response_header(asked.handle, result, stamp) + body


def fault(asked: Asked, code: int) -> bytes:
    return enc.service_fault(code, asked.handle)


def token_bytes(token: NodeId) -> bytes:
    return node_bytes(token)
