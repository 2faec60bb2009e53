"""The workloads, defined once: what is run, at which size, and what it is held against.

W5 and W6 are among those of `benchmarks.peers`, for us and for other systems alike, as are W1
to W3 in a form that all of them can do; W8 is `benchmarks.conversation`.
"""

from collections.abc import Callable
from functools import partial

from benchmarks.comparison import Comparison, Figure, Result, compare
from benchmarks.contestant import COLLECTORS
from benchmarks.history.in_turn import measure_history

__all__ = ["WORKLOADS", "Measure"]

Measure = Callable[[int, float], list[Result]]
"""Runs so many pairs, at a share of the real size, and gives what they came to."""

Declare = Callable[[float], list[Comparison]]
"""Comparisons of a workload, at a share of the real size."""

OURS, BARE = "throughput.ours", "throughput.bare"
BARE_COMMIT = "bare group commit"
CALLS = Figure("calls/s", "calls_per_second", "rows_per_second")
ENTRIES = Figure("journal entries/s", "entries_per_second", "rows_per_second")
IN_FLIGHT = (1, 10, 100, 1_000, 10_000)
PAYLOADS = ((100, 1_000), (10_000, 200), (1_000_000, 20))
"""Bytes that each call returns, and runs of five calls."""


def sequence(scale: float) -> list[Comparison]:
    """W1: one run; nothing to share a sync with."""
    calls = sized(1_000, scale)
    return [
        Comparison(
            "W1",
            f"1 run x {calls:,} calls",
            (OURS, 1, calls, 1),
            (BARE, 1, calls),
            BARE_COMMIT,
            (CALLS,),
        )
    ]


def fan_in(scale: float) -> list[Comparison]:
    """W2: acceptance, scheduling and completion of the runs included."""
    return [
        _fan_in(sized(max(1_000, in_flight), scale), sized(in_flight, scale), collector)
        for in_flight in IN_FLIGHT
        for collector in COLLECTORS
    ]


def _fan_in(runs: int, in_flight: int, collector: str) -> Comparison:
    calls = 5
    return Comparison(
        "W2",
        f"{runs:,} runs x {calls} calls, {in_flight:,} in flight",
        (OURS, runs, calls, in_flight, "--gc", collector),
        (BARE, in_flight, runs * calls // in_flight, "--gc", collector),
        BARE_COMMIT,
        (CALLS, ENTRIES),
        f"gc {collector}",
    )


def waits(scale: float) -> list[Comparison]:
    """W3: calls that wait, so many at a time."""
    program, runs, limit = "latency.waits", sized(1_000, scale), sized(100, scale)
    return [
        Comparison(
            "W3",
            f"{runs:,} runs of one wait of 50 ms, {limit} at a time",
            (program, "ours", runs, limit),
            (program, "bare", runs, limit),
            "tasks at a semaphore",
            (Figure("% of the ideal", "efficiency"),),
        )
    ]


def suspended(scale: float) -> list[Comparison]:
    """W4: resident memory of runs that wait in a call; a few would hide in free pages."""
    program = "memory.suspended"
    return [
        Comparison(
            "W4",
            f"{runs:,} runs suspended, synchronous=normal",
            (program, "ours", runs),
            (program, "bare", runs),
            "a task that waits for a future",
            (Figure("bytes a run", "bytes_per_run"),),
        )
        for runs in (max(1_000, sized(count, scale)) for count in (10_000, 100_000))
    ]


def payloads(scale: float) -> list[Comparison]:
    """W9: results of some size that neither compress nor repeat."""
    return [_payloads(size, sized(runs, scale)) for size, runs in PAYLOADS]


def _payloads(size: int, runs: int) -> Comparison:
    calls = 5
    total = size * runs * calls
    step = ("--step", "payload", "--bytes", size)
    return Comparison(
        "W9",
        f"{runs:,} runs x {calls} calls of {size:,} B, all in flight",
        (OURS, runs, calls, runs, *step),
        (BARE, runs, calls, "--bytes", size),
        f"{BARE_COMMIT} of as many bytes",
        (CALLS, Figure("bytes written per byte", "bytes_written", per=total)),
    )


def threads(scale: float) -> list[Comparison]:
    """W10: functions that hold the interpreter's lock, so one core is all there is."""
    runs, calls = sized(64, scale), 20
    return [
        Comparison(
            "W10",
            f"{runs} runs x {calls} calls of a CPU-bound function",
            (OURS, runs, calls, runs, "--step", "burn", "--threads", count),
            ("throughput.functions", runs * calls),
            "the bare function in a loop",
            (Figure("calls/s", "calls_per_second"),),
            f"{count} threads" if count > 1 else "1 thread",
        )
        for count in (1, 2, 4)
    ]


def latency(scale: float) -> list[Comparison]:
    """W11: one small commit after the other."""
    program, commits = "latency.commit", sized(300, scale)
    return [
        Comparison(
            "W11",
            f"{commits} commits beside a busy loop",
            (program, "busy", commits),
            (program, "idle", commits),
            "an idle loop",
            (Figure("p50, ms", "p50_milliseconds"), Figure("p99, ms", "p99_milliseconds")),
        )
    ]


def long_run(scale: float) -> list[Comparison]:
    """What a call costs in a run that has made many."""
    program, few, many = "throughput.one_run", sized(1_000, scale), sized(100_000, scale)
    return [
        Comparison(
            "long",
            f"a call after {many:,} calls of its run",
            (program, many),
            (program, few),
            f"after {few:,}",
            (Figure("us", "microseconds"), Figure("us of processor time", "cpu_microseconds")),
        )
    ]


def sized(count: int, scale: float) -> int:
    """A share of a size, and never nothing."""
    return max(1, round(count * scale))


def run_all(declare: Declare, pairs: int, scale: float) -> list[Result]:
    """Compare everything that a workload declares."""
    return [result for one in declare(scale) for result in compare(one, pairs)]


WORKLOADS: dict[str, Measure] = {
    "W1": partial(run_all, sequence),
    "W2": partial(run_all, fan_in),
    "W3": partial(run_all, waits),
    "W4": partial(run_all, suspended),
    "W7": measure_history,
    "W9": partial(run_all, payloads),
    "W10": partial(run_all, threads),
    "W11": partial(run_all, latency),
    "long": partial(run_all, long_run),
}
