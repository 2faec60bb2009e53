"""The benchmarks run, at sizes that measure nothing, and say what they ought to."""

import asyncio
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from durable_agents import SqliteStore
from durable_agents.store import examine

ROOT = Path(__file__).parent.parent.parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.tools,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="measures are read from Linux's /proc"),
]


def run(folder: Path, module: str, *arguments: object, lines: int = 0) -> str:
    """What a program of the benchmarks prints."""
    done = subprocess.run(  # noqa: S603 -- our own program
        [sys.executable, "-m", module, *map(str, arguments)],
        check=True,
        cwd=folder,
        input="\n" * lines,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return done.stdout


def measured(folder: Path, *workloads: str) -> list[dict[str, Any]]:
    """Results of one tiny pair of some workloads."""
    options = ("--pairs", 1, "--scale", 0.002, "--json", "results.json")
    run(folder, "benchmarks", *workloads, *options)
    record = json.loads((folder / "results.json").read_text())
    results: list[dict[str, Any]] = record["results"]
    return results


@pytest.mark.parametrize(
    ("workload", "figures"),
    [
        ("W1", {"calls/s"}),
        ("W4", {"bytes a run"}),
        ("W9", {"calls/s", "bytes written per byte"}),
        ("W10", {"calls/s"}),
        ("W11", {"p50, ms", "p99, ms"}),
        ("long", {"us", "us of processor time"}),
    ],
)
def test_every_workload_measures_both_sides(
    tmp_path: Path, workload: str, figures: set[str]
) -> None:
    """A ratio needs two numbers, and a table says what they are of."""
    results = measured(tmp_path, workload)

    assert figures == {result["figure"] for result in results}
    for result in results:
        assert [result["ours"][0] / result["theirs"][0]] == result["ratios"]


def test_the_share_of_entries_counts_acceptance_and_end_of_a_run(tmp_path: Path) -> None:
    """Seven rows for five calls."""
    printed = json.loads(run(tmp_path, "benchmarks.throughput.ours", 3, 5, 3, "--gc", "frozen"))

    ratio = printed["entries_per_second"] / printed["calls_per_second"]
    assert 7 / 5 == pytest.approx(ratio)


def test_runs_that_wait_leave_memory_and_are_woken(tmp_path: Path) -> None:
    """All that were taken in leave but a few, and those that are signalled complete."""
    printed = json.loads(run(tmp_path, "benchmarks.memory.waiting", 50, "--resident", 5))

    assert {
        "fill_bytes",
        "runs_per_second",
        "start_seconds",
        "start_bytes",
        "signal_seconds",
        "file_bytes",
    } == printed.keys()


def test_a_store_with_a_past_is_held_against_an_empty_one(tmp_path: Path) -> None:
    """Adding, starting and pruning."""
    results = measured(tmp_path, "W7")

    assert 3 == len(results)
    assert all(result["median_ratio"] > 0 for result in results)


async def test_a_filled_store_is_what_a_worker_leaves(tmp_path: Path) -> None:
    """Else the million runs would prove nothing."""
    run(tmp_path, "benchmarks.history.fill", tmp_path / "filled.db", 3)
    run(tmp_path, "benchmarks.history.one_more", tmp_path / "worked.db", lines=3)

    assert await contents(tmp_path / "worked.db") == await contents(tmp_path / "filled.db")


async def contents(path: Path) -> list[object]:
    """Runs and their journals, without what differs from store to store."""
    assert [] == (await asyncio.to_thread(examine, path)).damage
    store = SqliteStore(path)
    await store.open("test")
    found: list[object] = []
    for row in await store.runs(after=0, limit=10):
        journal = await store.journal(row.number)
        timeless = [[replace(entry, at=0.0) for entry in entries] for _, entries in journal]
        token = row.run_id.rpartition("-")[0]
        found += [row.number, row.agent, row.status, row.turn]
        found.append(str(timeless).replace(token, ""))
    await store.close()
    return found


def test_results_are_drawn(tmp_path: Path) -> None:
    """A file for each workload, which is XML and has a bar for each figure."""
    measured(tmp_path, "W11")

    [name] = run(tmp_path, "benchmarks.chart", "results.json").split()

    drawing = ET.parse(tmp_path / name).getroot()  # noqa: S314 -- written by ourselves
    assert 2 == len(drawing.findall("{http://www.w3.org/2000/svg}path"))


def test_results_of_peers_are_drawn(tmp_path: Path) -> None:
    """Systems of one workload and size share a chart."""
    line = {"workload": "W2", "in_flight": 10, "version": "1", "seconds": 1.0}
    lines = [{**line, "system": name, "calls_per_second": 5.0} for name in ("a", "b")]
    (tmp_path / "peers.json").write_text(json.dumps({"lines": lines}))

    assert "peers-W2-at-10.svg\n" == run(tmp_path, "benchmarks.chart", "peers.json")
