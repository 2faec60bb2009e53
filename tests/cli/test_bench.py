"""`durable-agents bench`: points in processes of their own, the knee, and what is refused."""

import gc
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import pytest

from durable_agents.cli import main
from durable_agents.cli._bench_report import BenchReport, report_of
from durable_agents.cli._chart import chart_of
from durable_agents.cli._exit import UsageError
from durable_agents.cli._garbage import collecting_seldom
from durable_agents.cli._measure import Measurement, percentile
from durable_agents.cli._sweep import parse_sweep
from durable_agents.worker import WorkerSettings
from tests.cli._job import AGENT, Job

PASS = Measurement(
    seconds=1.0,
    completed=10,
    errors=0,
    refused=0,
    calls=20,
    runs_per_second=10.0,
    calls_per_second=20.0,
    latency_p50=0.01,
    latency_p95=0.02,
    latency_p99=0.03,
    loop_lag_p99=0.001,
    loop_lag_max=0.002,
    peak_memory=2**25,
    problem="",
)


def order(product: str, amount: int) -> dict[str, Any]:
    return {"product": product, "amount": amount}


def bench(job: Job, *options: str, sweep: str = "num_async_threads=1", agent: str = "") -> int:
    """The command with its usual options and some more."""
    return job.command(
        "bench",
        agent or f"{job.module}:agent",
        f"--input={job.input}",
        f"--folder={job.input.parent}",
        f"--sweep={sweep}",
        *options,
    )


def one_point(job: Job, *options: str, **named: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report of one point, measured in this process."""
    code = bench(job, "--in-process", "--json", *options, **named)
    found: dict[str, Any] = json.loads(job.written)
    return code, found


def sweep_of(*rates: float, repeat: int = 1) -> BenchReport:
    """The report of a sweep 1, 2, 4 ... with these throughputs."""
    passes = [
        (2**number, msgspec.structs.replace(PASS, runs_per_second=rate))
        for number, rate in enumerate(rates)
    ]
    return report_of(
        passes * repeat,
        agent="a.py:agent",
        input="i<.jsonl",
        limit="num_async_threads",
        synchronous="full",
        python="3.11",
        cpus=2,
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_each_value_is_measured_and_one_is_recommended(job: Job, tmp_path: Path) -> None:
    """Nothing stays behind but the chart that was asked for."""
    job.give(*(order(f"tea {number}", number) for number in range(8)))
    before = {*tmp_path.iterdir()}
    chart = tmp_path / "sweep.svg"

    code = bench(job, f"--chart={chart}", "--json", sweep="num_async_threads=1..2")

    report = msgspec.json.decode(job.written, type=BenchReport)
    assert 0 == code
    assert [1, 2] == [point.value for point in report.points]
    assert [8, 8] == [point.median.completed for point in report.points]
    assert [8, 8] == [point.median.calls for point in report.points]
    assert report.knee in {1, 2}
    assert all(
        0 < m.latency_p50 <= m.latency_p95 <= m.latency_p99 <= m.seconds
        for m in (point.median for point in report.points)
    )
    assert chart.read_text() == chart_of(report)
    assert {chart} == {*tmp_path.iterdir()} - before - {tmp_path / "__pycache__"}
    assert "are really made: 8 lines x 2 values x 1 = 16 runs" in job.told


def test_the_table_names_the_limit_and_the_sync_mode(job: Job) -> None:
    """No figure is told without it."""
    job.give(order("tea", 1))

    code = bench(job, "--in-process", "--key=product", sweep="max_concurrent_runs=3")

    title, heads, _, row, advice = job.written.splitlines()
    assert 0 == code
    assert f"{job.module}:agent over orders.jsonl, synchronous=full" == title
    assert heads.startswith("max_concurrent_runs  runs/s  calls/s  p50 ms")
    assert row.split()[0] == "3"
    assert row.endswith("0  <--")
    assert "one value, max_concurrent_runs=3: sweep several to find the best" == advice


def test_runs_that_fail_are_errors_and_no_throughput(job: Job) -> None:
    """To fail fast is not to be fast; the first reason is told."""
    job.give(order("tea", 1), order("nut", -1), "{")

    code, report = one_point(job)

    (point,) = report["points"]
    found = point["median"]
    assert (1, 1, 1, 1, 2) == (
        code,
        found["completed"],
        found["errors"],
        found["refused"],
        found["calls"],
    )
    assert found["runs_per_second"] == pytest.approx(1 / found["seconds"])
    assert "-1 is owed to us" in found["problem"]
    assert "" == job.told


def test_where_nothing_completes_nothing_is_recommended(job: Job) -> None:
    """The table says how many runs failed and why."""
    job.give(order("nut", -1))

    code = bench(job, "--in-process")

    *_, advice, problem = job.written.splitlines()
    assert (1, "no run completed: there is nothing to recommend") == (code, advice)
    assert problem.startswith(
        "at 1: 1 runs did not complete, 0 lines were refused; the first: "
    )


def test_what_the_agent_prints_is_no_part_of_the_report(job: Job) -> None:
    """It goes to standard error."""
    job.add_to_module(
        """
        @agent.action(InputEvent)
        async def tell(event, ctx):
            print("sold", event.input.product)
        """
    )
    job.give(order("tea", 1), order("nut", 2))

    code, report = one_point(job)

    assert (0, 2) == (code, report["points"][0]["median"]["completed"])
    assert ["sold nut", "sold tea"] == sorted(job.told.splitlines())


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_point_that_cannot_be_measured_ends_the_sweep(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its process says why, and its exit code is ours."""
    module, inputs = tmp_path / "shop_agent.py", tmp_path / "orders.jsonl"
    module.write_text(AGENT)
    inputs.write_text("{}\n")
    files = [f"{module}:nobody", f"--input={inputs}", f"--folder={tmp_path}"]

    code = main(["bench", *files, "--sweep=num_sync_threads=1,2", "--quiet"])

    assert 2 == code
    assert "has no 'nobody'; its agents: agent" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("num_async_threads=1..8", (1, 2, 4, 8)),
        ("num_sync_threads=1..6", (1, 2, 4, 6)),
        ("max_concurrent_runs=5..5", (5,)),
        ("limits.llm=3..4", (3, 4)),
        ("limits.llm=20,5,10,5", (5, 10, 20)),
        ("num_async_threads=7", (7,)),
    ],
)
def test_a_sweep_is_a_range_that_doubles_or_a_list(text: str, values: tuple[int, ...]) -> None:
    """Both ends of a range belong to it."""
    assert values == parse_sweep(text).values


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("num_async_threads", "expected NAME=FIRST..LAST (doubling), NAME=N,N,... or NAME=N"),
        ("threads=1..8", "there is no limit 'threads'; expected num_async_threads, num_sync"),
        ("limits.=1..8", "there is no limit 'limits.'"),
        ("num_async_threads=8..1", "8 is more than 1; the first value is the lowest"),
        ("num_async_threads=0..8", "'0' is no whole number from 1 on"),
        ("num_async_threads=1..", "'' is no whole number from 1 on"),
        ("num_async_threads=1...8", "'.8' is no whole number from 1 on"),
        ("num_async_threads=1,x", "'x' is no whole number from 1 on"),
        ("num_async_threads=", "'' is no whole number from 1 on"),
    ],
)
def test_a_sweep_that_is_none_is_refused(text: str, problem: str, job: Job) -> None:
    """Before anything is run, with what was expected."""
    job.give(order("tea", 1))

    assert 2 == bench(job, sweep=text)
    assert f"--sweep {text!r}: " in job.told
    assert problem in job.told


def test_a_sweep_changes_its_limit_and_no_other() -> None:
    """Figures of the settings by their names, named limits beside those that are there."""
    others = WorkerSettings(limits={"mail": 2}, num_async_threads=3)

    swept = parse_sweep("limits.llm=1..4").settings(others, 4)
    figure = parse_sweep("num_async_threads=1..4").settings(others, 4)

    assert {"mail": 2, "llm": 4} == swept.limits
    assert (3, 4) == (swept.num_async_threads, figure.num_async_threads)
    assert others.limits == figure.limits


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--in-process", "--repeat=2"], "--in-process measures one value once"),
        (["--folder=nowhere"], "--folder nowhere is no folder that can be written to"),
        (["--chart=nowhere/a.svg"], "there is no folder nowhere; make it"),
        (["--input=nothing.jsonl"], "--input nothing.jsonl cannot be read"),
    ],
)
def test_what_would_come_to_nothing_is_refused_first(
    options: list[str], problem: str, job: Job
) -> None:
    """No call is made for a report that cannot be had."""
    job.give(order("tea", 1))

    assert 2 == bench(job, *options)
    assert problem in job.told


def test_an_input_without_lines_is_refused(job: Job) -> None:
    """There is nothing to measure."""
    job.give()

    assert 2 == bench(job)
    assert "has no lines: there is nothing to measure" in job.told


def test_a_chart_that_cannot_be_written_leaves_the_table(job: Job) -> None:
    """What was measured is not lost with it."""
    job.give(order("tea", 1))

    code = bench(job, "--in-process", f"--chart={job.input.parent}")

    assert 3 == code
    assert "one value, num_async_threads=1" in job.written
    assert "the chart cannot be written to" in job.told


@pytest.mark.parametrize(
    ("rates", "knee", "advice"),
    [
        (
            (10, 20, 40, 40, 41),
            4,
            "recommended: num_async_threads=4, the smallest value within",
        ),
        ((10, 20, 40), 4, "it still rises at the end of the sweep: try higher values"),
        ((40, 40, 39), 1, "makes no difference from 1 to 4: something else is the bound"),
        ((40, 20, 10), 1, "recommended: num_async_threads=1,"),
        ((10, 50, 20), 2, "(50 runs/s at 2)"),
        ((0, 0), None, "no run completed: there is nothing to recommend"),
    ],
)
def test_the_knee_is_the_smallest_value_near_the_best(
    rates: tuple[float, ...], knee: int | None, advice: str
) -> None:
    """More than that costs memory and latency, and gives nothing."""
    report = sweep_of(*rates)

    assert knee == report.knee
    assert advice in report.advice


def test_a_point_is_the_pass_of_median_throughput_and_counts_all_errors() -> None:
    """One pass that was disturbed decides nothing; one error of three passes is one."""
    rates = (30.0, 10.0, 20.0)
    passes = [(1, msgspec.structs.replace(PASS, runs_per_second=rate)) for rate in rates]
    passes[1] = (1, msgspec.structs.replace(passes[1][1], errors=1))

    (point,) = report_of(
        passes,
        agent="a",
        input="i",
        limit="limits.llm",
        synchronous="full",
        python="3.11",
        cpus=None,
    ).points

    assert (20.0, 1) == (point.throughput, point.errors)
    assert list(rates) == [one.runs_per_second for one in point.passes]


@pytest.mark.parametrize("report", [sweep_of(10, 20, 20), sweep_of(3), sweep_of(0, 0)])
def test_a_chart_is_svg_with_a_dot_for_each_figure(report: BenchReport) -> None:
    """One curve of throughput, three of latencies; the knee is named where there is one."""
    root = ET.fromstring(chart_of(report))  # noqa: S314 -- our own

    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    dots = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert 4 * len(report.points) == len(dots)
    assert "a.py:agent over i<.jsonl" in texts
    assert (report.knee is not None) == (f"knee: {report.knee}" in texts)
    assert all(0 <= float(dot.attrib["cy"]) <= 640 for dot in dots)


@pytest.mark.parametrize(
    ("figures", "percent", "found"),
    [
        ([], 99, 0.0),
        ([3.0], 50, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([float(n) for n in range(1, 101)], 100, 100.0),
    ],
)
def test_a_percentile_is_one_of_the_figures(
    figures: list[float], percent: int, found: float
) -> None:
    """The nearest rank: nothing is told that was not measured."""
    assert found == percentile(figures, percent)


def test_the_garbage_collector_is_left_as_it_was() -> None:
    """It is set for the work of a command alone, and works meanwhile."""
    before = gc.get_threshold(), gc.get_freeze_count()

    with collecting_seldom():
        meanwhile = gc.get_threshold()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before[1]

    assert meanwhile > before[0]
    assert before == (gc.get_threshold(), gc.get_freeze_count())


def test_the_help_warns_of_calls_that_are_really_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever reads it knows that a sweep may cost money."""
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--help"])

    written = capsys.readouterr().out
    assert 0 == ended.value.code
    assert "THE AGENT'S CALLS ARE REALLY MADE" in written
    assert "--sweep NAME=VALUES" in written


def test_an_unknown_kind_of_sweep_is_an_error_of_usage() -> None:
    """Also for a caller in Python."""
    with pytest.raises(UsageError, match="there is no limit 'workers'"):
        parse_sweep("workers=1..2")
