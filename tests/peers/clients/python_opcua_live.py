"""python-opcua as an operator, in its own environment: alarms by a refresh, Acknowledge, a setting, raw history; one JSON line."""

import json
import sys
import time
from datetime import datetime
from typing import Any

from opcua import Client, ua  # type: ignore[import-not-found]  # lives in .peers only


class Ear:
    """The events so far."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def event_notification(self, event: Any) -> None:
        self.events.append(event)

    def until(self, count: int) -> None:
        for _ in range(12_000):
            if len(self.events) >= count:
                return
            time.sleep(0.01)


def event_filter() -> Any:
    made = ua.EventFilter()
    fields = ((2041, "EventId"), (2041, "EventType"), (2041, "SourceName"), (2041, "Time"), (2041, "Message"), (2041, "Severity"),
              (2782, "ConditionName"), (2782, "Retain"), (2881, "AckedState/Id"), (2915, "ActiveState/Id"), (2782, ""))  # fmt: skip
    for kind, path in fields:
        clause = ua.SimpleAttributeOperand()
        clause.TypeDefinitionId = ua.NodeId(kind)
        clause.BrowsePath = [ua.QualifiedName(name) for name in path.split("/") if name]
        clause.AttributeId = ua.AttributeIds.Value if path else ua.AttributeIds.NodeId
        made.SelectClauses.append(clause)
    return made


def listen(client: Any, ear: Ear) -> tuple[Any, list[Any]]:
    """Every event of the server as a list of fields; python-opcua's own filter would lose what has no path."""
    fields: list[Any] = []
    subscription = client.create_subscription(20, ear)
    handler = subscription._call_event

    def keep(events: Any) -> None:
        for event in events.Events:
            fields.append([field.Value for field in event.EventFields])
            ear.events.append(event)

    subscription._call_event = keep
    del handler
    subscription._subscribe(
        [client.get_node(ua.NodeId(2253))], ua.AttributeIds.EventNotifier, event_filter(), 100
    )
    return subscription, fields


def told(fields: list[Any]) -> dict[str, Any]:
    _, _, source, at, message, severity, name, retain, acked, active, _ = fields
    return {"name": name, "source": source, "active": active, "acked": acked, "severity": severity, "retain": retain,
            "time": at.isoformat(timespec="milliseconds") + "Z", "message": message.Text}  # fmt: skip


def status(call: Any) -> str:
    try:
        call()
    except ua.UaStatusCodeError as error:
        return type(error).__name__
    return "Good"


def main(url: str, setting: str, remembered: str, begins: str, ends: str) -> None:
    client, ear = Client(url, timeout=300), Ear()
    client.connect()
    try:
        subscription, events = listen(client, ear)
        number = ua.Variant(subscription.subscription_id, ua.VariantType.UInt32)
        client.get_node(ua.NodeId(2782)).call_method(ua.NodeId(3875), number)
        ear.until(4)
        alarms = sorted((told(each) for each in events if each[6]), key=lambda each: each["name"])
        jam = next(each for each in events if each[6] == "PartStuck")
        given = (ua.Variant(jam[0], ua.VariantType.ByteString), ua.LocalizedText("seen"))
        acknowledged = status(lambda: client.get_node(jam[10]).call_method(ua.NodeId(9111), *given))
        ear.until(5)
        latest = {each[6]: told(each) for each in events if each[6]}
        node = client.get_node(setting)
        written = [status(lambda v=v, k=k: node.set_value(ua.DataValue(ua.Variant(v, k)))) for v, k in (
            (50.0, ua.VariantType.Float), (500.0, ua.VariantType.Float), (50.0, ua.VariantType.Double))]  # fmt: skip
        moments = [datetime.fromisoformat(each.rstrip("Z")) for each in (begins, ends)]
        history = client.get_node(remembered).read_raw_history(*moments)
        values = [
            [d.SourceTimestamp.isoformat(timespec="milliseconds") + "Z", d.Value.Value] for d in history
        ]
        said = {
            "alarms": alarms,
            "acknowledged": acknowledged,
            "after": [latest[name] for name in sorted(latest)],
        }
        sys.stdout.write(json.dumps({**said, "written": written, "values": values}) + "\n")
    finally:
        client.disconnect()


if __name__ == "__main__":
    main(*sys.argv[1:])
