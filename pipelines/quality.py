"""Quality travels as the OPC UA status code everywhere: one vocabulary, numbers kept (OPC 10000-4, 7.39).

The two top bits give the class: 00 good, 01 uncertain, 10 (and the reserved 11) bad.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

GOOD: Final = 0x00000000
GOOD_EDITED: Final = 0x00DC0000
"""A value whose time is ours, given while our own clock could not be believed (stages/trust.py): it is the only good code
that says "completed by the server". A good code, because the value itself is right and must reach every database.
"""
UNCERTAIN: Final = 0x40000000
UNCERTAIN_LAST_USABLE: Final = 0x40900000
UNCERTAIN_LIMITS_EXCEEDED: Final = 0x40940000  # UncertainEngineeringUnitsExceeded
BAD: Final = 0x80000000
BAD_NO_COMMUNICATION: Final = 0x80310000
BAD_WAITING_FOR_INITIAL_DATA: Final = 0x80320000
BAD_NODE_ID_UNKNOWN: Final = 0x80340000
BAD_OUT_OF_RANGE: Final = 0x803C0000
BAD_TYPE_MISMATCH: Final = 0x80740000
BAD_NO_DATA: Final = 0x809B0000
BAD_SHUTDOWN: Final = 0x800C0000

OVERFLOW: Final = 0x0480  # InfoType DataValue (0x0400) with the Overflow bit (0x0080), OPC 10000-4 table 177


def is_good(quality: NDArray[np.uint32]) -> NDArray[np.bool_]:
    good: NDArray[np.bool_] = quality < UNCERTAIN
    return good


def is_bad(quality: NDArray[np.uint32]) -> NDArray[np.bool_]:
    bad: NDArray[np.bool_] = quality >= BAD
    return bad


def class_of(code: int) -> str:
    """'good', 'uncertain' or 'bad', by the severity bits."""
    return ("good", "uncertain", "bad", "bad")[(code >> 30) & 3]
