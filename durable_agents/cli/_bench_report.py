"""What a sweep came to: its points, the knee, and what that means."""

from collections.abc import Sequence

import msgspec

from durable_agents.cli._measure import Measurement
from durable_agents.cli._show import Row, printable, say, table
from durable_agents.cli._values import shortened

__all__ = ["BenchReport", "Point", "report_of", "show_bench_report"]

_WITHIN = 0.05
"""Share of the best throughput that is not worth a higher limit."""
_LONGEST_PROBLEM = 300


class Point(msgspec.Struct, frozen=True):
    """The limit at one value."""

    value: int
    median: Measurement
    """The one of the passes whose throughput is the median: its figures belong together."""
    passes: list[Measurement]
    """All of them, in the order in which they were made."""

    @property
    def throughput(self) -> float:
        """Completed runs a second."""
        return self.median.runs_per_second

    @property
    def errors(self) -> int:
        """Runs that did not complete, in all passes."""
        return sum(one.errors for one in self.passes)


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` writes. Durations are seconds, memory is bytes."""

    agent: str
    input: str
    limit: str
    """Name of the limit that was swept."""
    repeat: int
    """Passes for each point."""
    synchronous: str
    """How the store was synced."""
    python: str
    cpus: int | None
    knee: int | None
    """The smallest value whose throughput is within 5 % of the best; None where nothing
    completed."""
    advice: str
    """The same in words."""
    points: list[Point]
    """By value, rising."""

    @property
    def is_good(self) -> bool:
        """Whether every run of every pass completed and no line was refused."""
        return not any(one.errors or one.refused for p in self.points for one in p.passes)


def report_of(
    passes: Sequence[tuple[int, Measurement]], *, limit: str, **about: object
) -> BenchReport:
    """Sum up a sweep.

    Args:
        passes: Value of the limit and measurement, in the order in which they were made.
        limit: Its name.
        about: The other fields of the report, as they are.
    """
    points = [_point(value, passes) for value in sorted({value for value, _ in passes})]
    knee = _knee(points)
    return msgspec.convert(
        {
            **about,
            "limit": limit,
            "repeat": len(points[0].passes),
            "knee": knee,
            "advice": _advice(limit, points, knee),
            "points": points,
        },
        BenchReport,
    )


def _point(value: int, passes: Sequence[tuple[int, Measurement]]) -> Point:
    own = [measurement for at, measurement in passes if at == value]
    by_throughput = sorted(own, key=lambda one: one.runs_per_second)
    return Point(value, by_throughput[(len(own) - 1) // 2], own)


def _knee(points: Sequence[Point]) -> int | None:
    enough = (1 - _WITHIN) * max(point.throughput for point in points)
    return next((p.value for p in points if p.throughput >= enough > 0), None)


def _advice(limit: str, points: Sequence[Point], knee: int | None) -> str:
    first, last = points[0], points[-1]
    if knee is None:
        return "no run completed: there is nothing to recommend"
    if first is last:
        return f"one value, {limit}={knee}: sweep several to find the best"
    best = max(points, key=lambda point: point.throughput)
    if knee == first.value and min(p.throughput for p in points) >= (
        (1 - _WITHIN) * best.throughput
    ):
        return (
            f"{limit} makes no difference from {first.value} to {last.value}: something else "
            "is the bound"
        )
    advice = (
        f"recommended: {limit}={knee}, the smallest value within 5 % of the best throughput "
        f"({_rate(best.throughput)} runs/s at {best.value})"
    )
    if knee == last.value:
        advice += "; it still rises at the end of the sweep: try higher values"
    return advice


def show_bench_report(report: BenchReport, *, as_json: bool) -> None:
    """Write a report to standard output."""
    if as_json:
        say(msgspec.json.encode(report).decode())
        return
    columns = _columns(report)
    heads = list(columns)
    rows = list(zip(*columns.values(), strict=True))
    times = "" if report.repeat == 1 else f", medians of {report.repeat}"
    title = f"{report.agent} over {report.input}, synchronous={report.synchronous}{times}"
    table(printable(title), heads, rows, [head for head in heads if head != "knee"])
    say(report.advice)
    for problem in _problems(report.points):
        say(printable(problem))


def _columns(report: BenchReport) -> dict[str, Row]:
    points = report.points
    ones = [point.median for point in points]
    return {
        report.limit: [f"{point.value:,}" for point in points],
        "runs/s": [_rate(one.runs_per_second) for one in ones],
        "calls/s": [_rate(one.calls_per_second) for one in ones],
        "p50 ms": [_milliseconds(one.latency_p50) for one in ones],
        "p95 ms": [_milliseconds(one.latency_p95) for one in ones],
        "p99 ms": [_milliseconds(one.latency_p99) for one in ones],
        "lag p99 ms": [_milliseconds(one.loop_lag_p99) for one in ones],
        "lag max ms": [_milliseconds(one.loop_lag_max) for one in ones],
        "peak MiB": [f"{one.peak_memory / 2**20:,.0f}" for one in ones],
        "errors": [f"{point.errors:,}" for point in points],
        "knee": ["<--" if point.value == report.knee else "" for point in points],
    }


def _problems(points: Sequence[Point]) -> list[str]:
    """What went wrong: how often at each value, with the first reason."""
    problems: list[str] = []
    for point in points:
        told = next((one.problem for one in point.passes if one.problem), "")
        refused = point.passes[0].refused
        if told:
            problems.append(
                f"at {point.value:,}: {point.errors:,} runs did not complete, {refused:,} "
                f"lines were refused; the first: {shortened(told, _LONGEST_PROBLEM)}"
            )
    return problems


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"  # noqa: PLR2004


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}"
