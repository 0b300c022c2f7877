"""Load: a source that is never the limit. Messages are encoded once and patched in place, and every value is known.

Not the machines of `simulators.machines`: those have physics and speak through a library; here only the number of
values per second counts, and that each of them can be found again in the database.
"""
