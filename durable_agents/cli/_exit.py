"""How a command ends: its exit code, and the errors of commands themselves."""

from enum import IntEnum

__all__ = ["ExitCode", "OutputError", "UsageError"]


class ExitCode(IntEnum):
    """What the number says that a command leaves behind."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    STORE = 3
    INTERRUPTED = 130


class UsageError(Exception):
    """What was asked for cannot be meant; found only after the arguments were parsed."""


class OutputError(Exception):
    """A file of results cannot be written any more; what is recorded stays in the store."""
