"""The one error that a user of the command line sees as words instead of a traceback."""


class SimulatorError(Exception):
    """What went wrong, where, and what to do; printed as it is."""
