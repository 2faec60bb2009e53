"""The durable functions that are measured, and the bare one beside them.

    python -m benchmarks.throughput.functions CALLS

prints `calls_per_second` of `burn`, called in a loop by nobody but Python.
"""

import random
import sys
import time
from collections.abc import Callable

from benchmarks.contestant import report

__all__ = ["STEPS", "Step", "burn"]

BURNT_ADDITIONS = 20_000
"""About a millisecond."""

SEED, MARK_BYTES = 5, 8
Step = Callable[[int, int], object]
"""A durable function: of the number of the call and the size of what it returns."""

_noise = b""


async def trivial(number: int, _size: int) -> int:
    """Nothing to do."""
    return number + 1


async def payload(number: int, size: int) -> bytes:
    """So many bytes that neither compress nor repeat."""
    global _noise  # noqa: PLW0603 - made once, since making it takes as long as storing it
    if len(_noise) != size:
        _noise = random.Random(SEED).randbytes(size)  # noqa: S311 - the same each time
    mark = number.to_bytes(MARK_BYTES, "big")
    return mark + _noise[MARK_BYTES:]


def burn(number: int, _size: int) -> int:
    """Work for a thread that holds the interpreter's lock all the time."""
    total = number
    for addend in range(BURNT_ADDITIONS):
        total += addend
    return total


STEPS: dict[str, Step] = {"trivial": trivial, "payload": payload, "burn": burn}


def main() -> None:
    """Measure the bare function."""
    calls = int(sys.argv[1])
    start = time.perf_counter()
    for number in range(calls):
        burn(number, 0)
    report(calls_per_second=calls / (time.perf_counter() - start))


if __name__ == "__main__":
    main()
