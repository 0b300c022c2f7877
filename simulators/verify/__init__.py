"""Compares what simulated machines really did with what somebody stored: missing, spurious, altered, late, explained.

Values are compared to the last bit and times to the nanosecond. Nothing here knows how the collector works inside; it
knows only the promise (README): same machine, same signal, same time, same value, and a gap record where one is lost.
"""
