"""Tables of values in files, row by row: what `collector export` writes, and what other loggers and people write.

Read here and not by the collector's own code: `verify` must not see through the eyes of what it verifies.
"""
