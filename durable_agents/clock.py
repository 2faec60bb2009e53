"""The only file that reads the time or waits for it; everything else is handed a `Clock`."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

__all__ = ["Clock", "SystemClock"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Where the package learns what time it is, and where it waits."""

    def now(self) -> float:
        """Wall-clock time in seconds since 1970-01-01 UTC; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes backwards.

        All processes of a machine count from the same moment, until the machine restarts.
        """
        ...

    def boot_id(self) -> str:
        """Which start of the machine `monotonic` counts from: another one, another id.

        Reads a file: not for the event loop's thread.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait at least `seconds` (>= 0). Cancellation: leaves nothing behind."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Wall-clock time in seconds since 1970-01-01 UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds of the machine's clock that never goes backwards."""
        return time.monotonic()

    def boot_id(self) -> str:
        """The kernel's id of this start; empty where it gives none."""
        # Without an id a restart is not noticed by it; locks held by the dead are free then,
        # which says the same (`store/_worker_lock.py`).
        with suppress(OSError):
            return _BOOT_ID.read_text(encoding="ascii").strip()
        return ""

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` on the running event loop."""
        await asyncio.sleep(seconds)
