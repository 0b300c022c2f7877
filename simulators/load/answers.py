"""Answers that need no state of the server."""

from collections.abc import Callable
from typing import Any

from asyncua import ua

from simulators.load.sessions import Session

Answer = Callable[[Any, Session], Any]
"""(request, session) -> response, or the status code of a ServiceFault."""


def status(code: int) -> Any:
    """As asyncua has it."""
    return ua.StatusCode(ua.UInt32(code))


def modified(request: Any, _: Session) -> Any:
    """ModifySubscription: whatever was asked for."""
    answer, wanted = ua.ModifySubscriptionResponse(), request.Parameters
    made: Any = answer.Parameters
    made.RevisedPublishingInterval = wanted.RequestedPublishingInterval
    made.RevisedLifetimeCount = wanted.RequestedLifetimeCount
    made.RevisedMaxKeepAliveCount = wanted.RequestedMaxKeepAliveCount
    return answer


def each_good(wishes: str, response: Any) -> Answer:
    """Good for every one of the `wishes` in the request's parameters."""

    def answer(request: Any, _: Session) -> Any:
        made = response()
        results = [ua.StatusCode() for _ in getattr(request.Parameters, wishes)]
        if hasattr(made, "Results"):
            made.Results = results
        else:
            made.Parameters.Results = results
        return made

    return answer
