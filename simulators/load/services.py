"""The services that are asked for a few times per session, answered with asyncua's structures; unknown ones are refused.

Nothing is checked that a collector would not notice: any user is anonymous.
"""

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary
from numpy.typing import NDArray

from simulators.load.channel import POLICY
from simulators.load.mix import exact
from simulators.load.series import NAMESPACE, variable_of

INDEX = 2  # of NAMESPACE
NAMESPACES = ["http://opcfoundation.org/UA/", "urn:shopfloor:sim:load", NAMESPACE]
TRANSPORT = "http://opcfoundation.org/UA-Profile/Transport/uatcp-uasc-uabinary"
_STARTED, _STATE, _LEVEL, _NAMESPACES = 2257, 2259, 2267, 2255  # NodeIds.csv
_CAPABILITIES = {_STATE: 0, _LEVEL: 255, 2261: "shopfloor load", 2264: "1", 11705: 1000, 11714: 1000}
_DATA_TYPE, _RANK, _VALUE, _CLASS, _NAME, _DISPLAY = 14, 15, 13, 2, 3, 4  # AttributeIds


def fault(handle: int, code: int) -> bytes:
    """A ServiceFault."""
    answer: Any = ua.ServiceFault()
    answer.ResponseHeader.RequestHandle = handle
    answer.ResponseHeader.ServiceResult = ua.StatusCode(ua.UInt32(code))
    return bytes(struct_to_binary(answer))


def variable_at(node: Any) -> int:
    """The variable behind a NodeId; -1 when there is none."""
    return variable_of(str(node.Identifier)) if node.NamespaceIndex == INDEX else -1


class Services:
    """Everything but subscriptions. `url`: as clients reach us."""

    def __init__(self, types: NDArray[np.uint8], url: str) -> None:
        self._types, self._url = types, url
        self._sessions, self._started = 0, datetime.now(UTC)
        self._answers: Mapping[str, Callable[[Any], Any]] = {
            "GetEndpointsRequest": self._endpoints,
            "FindServersRequest": self._servers,
            "CreateSessionRequest": self._session,
            "ReadRequest": self._read,
        }

    def answer(self, request: Any) -> Any:
        """The answer to a decoded request; None for a service that is not here."""
        make = self._answers.get(type(request).__name__)
        return make(request) if make is not None else None

    def _application(self) -> Any:
        about: Any = ua.ApplicationDescription()
        about.ApplicationUri, about.ProductUri = NAMESPACES[1], NAMESPACES[1]
        about.ApplicationName = ua.LocalizedText("Load")
        about.ApplicationType = ua.ApplicationType.Server
        about.DiscoveryUrls = [self._url]
        return about

    def _offers(self) -> list[Any]:
        offer: Any = ua.EndpointDescription()
        offer.EndpointUrl, offer.Server = self._url, self._application()
        offer.SecurityMode = ua.MessageSecurityMode.None_
        offer.SecurityPolicyUri, offer.TransportProfileUri = POLICY, TRANSPORT
        anonymous: Any = ua.UserTokenPolicy()
        anonymous.PolicyId, anonymous.TokenType = "anonymous", ua.UserTokenType.Anonymous
        offer.UserIdentityTokens = [anonymous]
        return [offer]

    def _endpoints(self, _: Any) -> Any:
        answer: Any = ua.GetEndpointsResponse()
        answer.Endpoints = self._offers()
        return answer

    def _servers(self, _: Any) -> Any:
        answer: Any = ua.FindServersResponse()
        answer.Servers = [self._application()]
        return answer

    def _session(self, request: Any) -> Any:
        answer: Any = ua.CreateSessionResponse()
        result = answer.Parameters
        self._sessions += 1
        result.SessionId = _node(self._sessions, 1)
        result.AuthenticationToken = _node(secrets.token_bytes(32), 0)
        result.RevisedSessionTimeout = request.Parameters.RequestedSessionTimeout
        result.ServerNonce = bytes(32)
        result.ServerEndpoints = self._offers()
        return answer

    def _read(self, request: Any) -> Any:
        answer: Any = ua.ReadResponse()
        answer.Results = [
            self._attribute(wanted.NodeId, int(wanted.AttributeId))
            for wanted in request.Parameters.NodesToRead
        ]
        return answer

    def _attribute(self, node: Any, attribute: int) -> Any:
        variable = variable_at(node)
        if 0 <= variable < len(self._types):
            return self._of_variable(variable, attribute)
        if (node.NamespaceIndex, node.Identifier, attribute) == (0, _STARTED, _VALUE):
            return _data(self._started, ua.VariantType.DateTime)
        value = _CAPABILITIES.get(node.Identifier) if node.NamespaceIndex == 0 else None
        if attribute != _VALUE or (value is None and node.Identifier != _NAMESPACES):
            return _bad("BadNodeIdUnknown")
        if node.Identifier == _NAMESPACES:
            return _data(NAMESPACES, ua.VariantType.String)
        if isinstance(value, str):
            return _data(value, ua.VariantType.String)
        kinds = {_STATE: ua.VariantType.Int32, _LEVEL: ua.VariantType.Byte}
        return _data(value, kinds.get(node.Identifier, ua.VariantType.UInt32))

    def _of_variable(self, variable: int, attribute: int) -> Any:
        name, kind = f"v{variable:05d}", int(self._types[variable])
        known = {
            _DATA_TYPE: (_node(kind, 0), ua.VariantType.NodeId),
            _RANK: (-1, ua.VariantType.Int32),
            _VALUE: (exact(kind, variable, 0), ua.VariantType(kind)),
            _CLASS: (2, ua.VariantType.Int32),
            _NAME: (ua.QualifiedName(name, INDEX), ua.VariantType.QualifiedName),
            _DISPLAY: (ua.LocalizedText(name), ua.VariantType.LocalizedText),
        }
        return _data(*known[attribute]) if attribute in known else _bad("BadAttributeIdInvalid")


def _node(identifier: int | bytes, index: int) -> Any:
    make: Any = ua.NodeId
    return make(identifier, index)


def _data(value: Any, kind: ua.VariantType) -> Any:
    return ua.DataValue(ua.Variant(value, kind))


def _bad(name: str) -> Any:
    return ua.DataValue(StatusCode=ua.StatusCode(ua.UInt32(getattr(StatusCodes, name))))


def decode(body: bytes) -> Any:
    """A request as asyncua's structure; None for a type that it does not know."""
    made: Any = ua.extension_objects_by_typeid.get(nodeid_from_binary(Buffer(body)))
    return struct_from_binary(made, Buffer(body)) if made is not None else None
