"""`durable-agents run` when it is stopped, and when runs wait for a person."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli._job import Job
from tests.cli._kit import start

SLOW = """
import asyncio
from pathlib import Path

SEEN = Path(__file__).with_name("seen")
slow = Agent("shop", input=Order)


async def weigh(amount):
    with SEEN.open("a") as file:
        file.write(f"{amount}\\n")
    await asyncio.sleep(amount)
    return amount


@slow.action(InputEvent)
async def sell_slow(event, ctx):
    ctx.output(await ctx.durable(weigh, event.input.amount))
"""


def begin(job: Job, *amounts: int) -> subprocess.Popen[str]:
    """The command over calls that take so many seconds, once the last of them has begun."""
    job.add_to_module(SLOW)
    job.give(*({"product": str(n), "amount": amount} for n, amount in enumerate(amounts)))
    process = start(
        "run",
        f"{job.module}:slow",
        f"--input={job.input}",
        "--key=product",
        f"--store={job.store}",
        f"--output={job.output}",
        "--quiet",
        "--json",
        "--grace=60",
    )
    wait_until(process, lambda: len(seen(job)) == len(amounts))
    return process


def seen(job: Job) -> list[str]:
    """What the durable function wrote down, call by call."""
    path = job.module.with_name("seen")
    return path.read_text().splitlines() if path.exists() else []


def wait_until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    while not condition():
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.005)
        assert process.poll() is None, "it ended before"


def written(job: Job) -> list[dict[str, Any]]:
    return job.outputs() if job.output.exists() else []


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_gracefully_and_the_same_command_goes_on(
    number: signal.Signals, job: Job
) -> None:
    """What is under way may finish; what it came to is written and not made again."""
    with begin(job, 0, 1) as process:
        process.send_signal(number)
        report, told = process.communicate()

    found = json.loads(report)
    assert (130, False) == (process.returncode, found["is_finished"])
    assert "stopping: calls under way may finish" in told
    assert f"interrupted; `durable-agents run {job.module}:slow --input" in told
    assert 0 == job.run(agent=f"{job.module}:slow")
    assert [0, 1] == [line["value"] for line in job.outputs()]
    assert ["0", "1"] == seen(job)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_second_signal_stops_at_once(job: Job) -> None:
    """Without waiting for anything; what had settled stays."""
    with begin(job, 0, 3600) as process:
        wait_until(process, lambda: len(written(job)) == 1)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "stopping" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate()

    assert 130 == process.returncode
    assert [0] == [line["value"] for line in job.outputs()]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_other_commands_work_while_it_runs(job: Job) -> None:
    """Some read the store, others ask its worker; a second `run` is told who owns it."""
    with begin(job, 0, 3600) as process:
        store = f"--store={job.store}"
        assert 0 == job.command("runs", store, "--json", "--key=1")
        (run,) = json.loads(job.written)["runs"]
        assert "accepted" == run["status"]
        assert 3 == job.run(agent=f"{job.module}:slow")
        assert f"it is owned by shop (process {process.pid})" in job.told
        assert 0 == job.command("cancel", run["run"], store)
        assert "its worker has it" in job.written
        report, _ = process.communicate()

    found = json.loads(report)
    assert (0, 1, 1) == (process.returncode, found["completed"], found["cancelled"])


def test_runs_behind_a_parked_one_are_counted_and_not_waited_for(job: Job) -> None:
    """More of them than may be on their way at once; other keys go on."""
    job.add_to_module(
        """
        import asyncio

        asking = Agent("shop", input=Order)

        @durable(on_interrupt="ask", timeout=0.001)
        async def pay(amount):
            await asyncio.sleep(3600)

        @asking.action(InputEvent)
        async def sell_asking(event, ctx):
            if event.input.product == "tea":
                await ctx.durable(pay, event.input.amount)
        """
    )
    job.give(
        *({"product": "tea", "amount": n} for n in range(30)),
        *({"product": "nut", "amount": n} for n in range(5)),
    )

    for _ in range(2):
        code, report = job.report("--concurrency=1", agent=f"{job.module}:asking")

        assert (1, 1, 29, 5) == (
            code,
            report["parked"],
            report["waiting"],
            report["completed"],
        )
        assert report["is_finished"]
        (parked,) = report["parked_runs"]
        assert "pay" in parked["reason"]
    assert 1 == job.run(agent=f"{job.module}:asking")
    assert "waiting behind a parked run" in job.written


def test_a_stale_socket_does_not_keep_a_worker_from_starting(job: Job) -> None:
    """What a killed process leaves is replaced."""
    job.give({"product": "tea", "amount": 1})
    os.mkfifo(f"{job.store}.sock")

    assert 0 == job.run()
    assert not Path(f"{job.store}.sock").exists()
