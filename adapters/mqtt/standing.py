"""Whether the broker goes on with the session that the journal knows.

A broker that lost our session says so once, in the answer that begins a new one. If that connection ends before the journal has the gap
record (the broker falls again, or does not answer SUBSCRIBE), the next answer says that a session is there, and it is not the one that held
what came meanwhile. So the word is kept here, over all connections of a source, until a delivery that tells of it is durable.
"""

from __future__ import annotations


class Standing:
    """One for a source."""

    def __init__(self) -> None:
        self._untold = False

    def continued(self, *, present: bool) -> bool:
        """Asked once per connection, with what the broker says."""
        self._untold |= not present
        return not self._untold

    async def told(self) -> None:
        """The journal has the beginning of this session."""
        self._untold = False
