"""The broker's own count of messages that it dropped because a client's queue was full, where it tells it.

MQTT has no word for "your queue overflowed": a broker drops in silence (mosquitto: beyond max_queued_messages, 1000). mosquitto and
its relatives count it under `$SYS`; the count is of all clients together, so a rise is a possible loss of ours and not a known
one: the gap record has no count and says so. What was last read is kept in the checkpoint, because queues overflow while
nobody is there. At most one gap in EVERY: a broker that drops another client's messages all day must not fill our database.
"""

from __future__ import annotations

from adapters.mqtt.channel import Message
from pipelines.stage import Gap

TOPIC = "$SYS/broker/publish/messages/dropped"
EVERY = 300 * 10**9  # ns
REASON = "broker_dropped_messages"


class Dropped:
    """count: as last read, -1 if never. at: ns, when that was. gap: waits to be handed over.

    untold: what it has risen by since the last gap, and since when (ns): for the checkpoint, or it would end with the connection.
    """

    def __init__(self, count: int = -1, at: int = 0, untold: tuple[int, int] = (0, 0)) -> None:
        self.count, self.at = count, at
        self._next = 0
        self._pending, self._since = untold

    @property
    def untold(self) -> tuple[int, int]:
        return self._pending, self._since

    def told(self, message: Message) -> None:
        """The broker's count; what is not a number is no count. A count that fell began anew with the broker."""
        text = message.payload.strip()
        if not text.isdigit() or len(text) > 18:
            return
        count = int(text)
        if self.count >= 0 and count != self.count:
            self._since = self._since or self.at
            self._pending += count - self.count if count > self.count else count
        self.count, self.at = count, message.at

    def gap(self, now: int) -> Gap | None:
        """A possible loss that was not told yet."""
        if not self._pending or now < self._next:
            return None
        begins, dropped = min(self._since, now), self._pending
        self._pending = self._since = 0
        self._next = now + EVERY
        return Gap(begins, now, REASON, f"the broker dropped {dropped} messages of its clients, {ADVICE}")


ADVICE = (
    "perhaps ours: it counts all of them together. Its queue per client is too short "
    "(mosquitto: max_queued_messages, 1000 by default)"
)
