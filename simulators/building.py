"""Making many objects that all stay: an address space is half a million of them, and Python would look through all of them for rubbish, again and
again while they are made. That is half of the time a workshop takes to open.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_is_rubbish() -> Iterator[None]:
    """No collection of circles until this is left; for as long as something is built, not longer."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
