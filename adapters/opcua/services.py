"""The services that find, repair and end a subscription: Republish, TransferSubscriptions, ResendData, the deletions.

Each may be refused by a server that works well otherwise, so a refusal is an answer here, and no error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from adapters.opcua.channel import Channel
from adapters.opcua.decode import Message, decode_response
from adapters.opcua.errors import status_name
from adapters.opcua.values import Malformed

GONE: Final = ("BadSubscriptionIdInvalid", "BadNoSubscription")
_NEVER_SENT: Final = 0x7FFFFFFF
_SERVER, _RESEND_DATA = 2253, 12873  # NodeIds.csv: Server, Server_ResendData


class Resent(NamedTuple):
    """message: the notification, if it came again. refusal: the name of the status otherwise."""

    message: Message | None
    refusal: str = ""


async def republish(channel: Channel, subscription: int, number: int) -> Resent:
    """Ask for one notification again (OPC 10000-4, 5.14.6). An answer without the notification asked for is none."""
    request = ua.RepublishRequest()
    request.Parameters.SubscriptionId = subscription
    request.Parameters.RetransmitSequenceNumber = number
    try:
        answer = decode_response(await channel.attempt_raw(request))
    except Malformed as error:
        return Resent(None, str(error))
    message = answer.message
    if message is None:
        return Resent(None, status_name(answer.result))
    if not message.parts or message.sequence != number:
        return Resent(None, "an answer without the notification")
    return Resent(message)


async def proves_itself(channel: Channel, subscription: int) -> bool:
    """Whether this server can give back what was not acknowledged: on a fresh subscription, asked for what cannot be there.

    A server that answers a Republish of nothing with Good (asyncua's does) keeps nothing, and one without
    TransferSubscriptions cannot give a subscription to the next session.
    """
    answer = await republish(channel, subscription, _NEVER_SENT)
    if answer.refusal != "BadMessageNotAvailable":
        return False
    moved = await channel.attempt(_transfer_request([]), ua.TransferSubscriptionsResponse)
    return not isinstance(moved, int) or moved == StatusCodes.BadNothingToDo


async def transfer(channel: Channel, subscription: int) -> str:
    """Take the subscription over into this session, without initial values: empty, or the name of the refusal."""
    answer = await channel.attempt(_transfer_request([subscription]), ua.TransferSubscriptionsResponse)
    if isinstance(answer, int):
        return status_name(answer)
    results = answer.Parameters.Results
    if len(results) != 1:
        return "an answer without a result"
    return "" if results[0].StatusCode.is_good() else status_name(results[0].StatusCode.value)


def _transfer_request(subscriptions: Sequence[int]) -> ua.TransferSubscriptionsRequest:
    request = ua.TransferSubscriptionsRequest()
    request.Parameters.SubscriptionIds = list(subscriptions)
    request.Parameters.SendInitialValues = False
    return request


async def resend_data(channel: Channel, subscription: int) -> bool:
    """Have the server publish the present value of every item once more (OPC 10000-5, 9.2). False if it cannot."""
    method, node = ua.CallMethodRequest(), _node
    method.ObjectId, method.MethodId = node(_SERVER), node(_RESEND_DATA)
    make: Any = ua.Variant
    method.InputArguments = [make(subscription, ua.VariantType.UInt32)]
    request = ua.CallRequest()
    request.Parameters.MethodsToCall = [method]
    answer = await channel.attempt(request, ua.CallResponse)
    return not isinstance(answer, int) and len(answer.Results) == 1 and answer.Results[0].StatusCode.is_good()


async def delete_subscription(channel: Channel, subscription: int) -> None:
    """Best effort: what is not there need not go."""
    request = ua.DeleteSubscriptionsRequest()
    request.Parameters.SubscriptionIds = [subscription]
    await channel.attempt(request, ua.DeleteSubscriptionsResponse)


async def delete_items(channel: Channel, subscription: int, ids: Sequence[int], most: int) -> None:
    """At most `most` per call. An item that the server does not know any more is as good as deleted."""
    for at in range(0, len(ids), most):
        request = ua.DeleteMonitoredItemsRequest()
        request.Parameters.SubscriptionId = subscription
        request.Parameters.MonitoredItemIds = list(ids[at : at + most])
        await channel.attempt(request, ua.DeleteMonitoredItemsResponse)


def _node(identifier: int) -> ua.NodeId:
    make: Any = ua.NodeId
    made: ua.NodeId = make(identifier)
    return made
