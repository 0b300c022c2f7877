"""One file per payload type: bytes in, values out; no network, no clock, never an exception for data."""
