"""The one error that a person is meant to read.

Everything that can go wrong through bad input, a bad setting or a bad file raises GaterecError with one clear line: where, what was
expected, what was found and what to do. The command line prints that line and exits with code 2; anything else is a bug and keeps its
traceback.
"""


class GaterecError(Exception):
    """Bad input, told in one line."""


class SettingsError(GaterecError):
    """A setting that is unknown, out of range, or does not fit another one."""


class DataError(GaterecError):
    """A log that can't be read, or with which the job can't be done."""


class RunError(GaterecError):
    """A run folder that can't be read or written, or a training that can't go on."""
