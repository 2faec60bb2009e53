"""What the programs share that measure one thing each, in a process of their own.

Such a program takes sizes as arguments and prints one line: its figures, as a JSON object.
Files are made in the current folder, since that is the disk that somebody asked about.
"""

import gc
import json
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "COLLECTORS",
    "bytes_written",
    "quantile",
    "report",
    "resident_bytes",
    "scratch_folder",
    "set_collector",
]

COLLECTORS = ("default", "frozen")
PAGE_BYTES = 4096
FROZEN_THRESHOLDS = (50_000, 20, 100)


def report(**figures: float) -> None:
    """Print the line that the comparison reads."""
    print(json.dumps(figures), flush=True)


@contextmanager
def scratch_folder() -> Generator[Path]:
    """A folder for stores, on the disk of the current one."""
    with tempfile.TemporaryDirectory(dir=".", ignore_cleanup_errors=True) as name:
        yield Path(name)


def set_collector(collector: str) -> None:
    """Set the garbage collector; to be called when everything has been started.

    Args:
        collector: `"default"` leaves it as Python has it, which is what users of asyncio have.
            `"frozen"` is what the command line of a server may choose: what start-up made is
            never looked at again, and the rest less often.
    """
    if collector == "frozen":
        gc.collect()
        gc.freeze()
        gc.set_threshold(*FROZEN_THRESHOLDS)


def bytes_written() -> int:
    """Bytes that this process has handed to `write` and its like so far (Linux)."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    counts = dict(line.split(": ") for line in lines)
    return int(counts["wchar"])


def resident_bytes() -> int:
    """Memory of this process that is in RAM now (Linux), garbage aside."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


def quantile(values: list[float], share: float) -> float:
    """The value that so great a share of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
