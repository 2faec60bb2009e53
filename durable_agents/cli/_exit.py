"""How a command ends: its exit code, and the error for wrong usage."""

from enum import IntEnum

__all__ = ["ExitCode", "UsageError"]


class ExitCode(IntEnum):
    """What the number says that a command leaves behind."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    STORE = 3
    INTERRUPTED = 130


class UsageError(Exception):
    """What was asked for cannot be meant; found only after the arguments were parsed."""
