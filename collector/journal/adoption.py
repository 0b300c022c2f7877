"""Whose journal it is: a file that was opened elsewhere before gets an id of its own (fault matrix D11, and `place.py`)."""

from __future__ import annotations

import logging
import secrets

from collector.journal.place import place_of
from collector.journal.store import Store

log = logging.getLogger("collector.journal")


def adopt(store: Store) -> None:
    """What the file holds stays; only its id changes, so that two collectors never have the same. Within a transaction."""
    here = place_of(store.path)
    known = store.connection.execute("SELECT value FROM meta WHERE key = 'place'").fetchone()
    if known is not None and known[0] != here:
        _rename(store)
    if known is None or known[0] != here:
        store.connection.execute(
            "INSERT INTO meta (key, value) VALUES ('place', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (here,),
        )


def _rename(store: Store) -> None:
    store.name = secrets.token_hex(8)
    store.connection.execute("UPDATE meta SET value = ? WHERE key = 'store'", (store.name,))
    log.warning(
        "%s: this buffer was copied or moved from another place and has a new id now. If the first collector still runs, "
        "see to it that the two do not log in under one name (such as an MQTT client_id).",
        store.path,
    )
