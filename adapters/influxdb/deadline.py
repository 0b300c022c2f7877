"""What happens when a request is not done in time: one thread per wire, asleep until somebody may be late.

Not a `threading.Timer` per request: starting a thread costs as much as a third of a small request. Not a timeout of the
socket either: that one begins anew with every byte that drips in.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable


class Watcher:
    """`late` is called, on another thread, while a request is not done within its time. One request at a time."""

    def __init__(self, late: Callable[[], None]) -> None:
        self._late = late
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._due = self._wakes = math.inf  # monotonic s: of the request, and when the thread looks again
        self._struck = self._closed = False

    def begin(self, seconds: float) -> None:
        """A request begins and may take so long."""
        with self._changed:
            self._due, self._struck = time.monotonic() + seconds, False
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="influxdb-deadline")
                self._thread.start()
            elif (
                self._due < self._wakes
            ):  # else the thread sleeps on: it looks before that, and sees what is due then
                self._changed.notify()

    def end(self) -> bool:
        """It is done, and from now on nothing happens to it. Whether it was late."""
        with self._changed:
            self._due = math.inf
            return self._struck

    def close(self) -> None:
        """When no request is under way and none will come."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                left = self._due - time.monotonic()
                if left <= 0:
                    self._due, self._struck = math.inf, True
                    self._late()
                    continue
                self._wakes = self._due
                self._changed.wait(None if math.isinf(left) else left)
