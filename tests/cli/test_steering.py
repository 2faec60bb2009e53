"""Commands that look at runs and decide about them, with and without a worker."""

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from durable_agents import Agent, SqliteStore, Worker, WorkerSettings
from durable_agents.cli import _retry, main
from durable_agents.cli._agents import load_agent
from durable_agents.cli._steer import steer
from durable_agents.journal import promise_id
from durable_agents.store import StoreFacts
from durable_agents.worker import Command, Executed, _visit
from tests.cli._job import Job

T = TypeVar("T")

ASKS = """
import asyncio

attempts = []
begun = asyncio.Event()
is_broken = True


@durable(on_interrupt="ask", name="pay")
async def pay(amount):
    attempts.append(amount)
    if len(attempts) == 1:
        begun.set()
        await asyncio.sleep(3600)
    return amount


asking = Agent("shop", input=Order)


@asking.action(InputEvent)
async def sell_asking(event, ctx):
    ctx.output(await ctx.durable(pay, event.input.amount))


async def flaky(amount):
    if is_broken:
        raise OSError("out of order")
    return amount


failing = Agent("shop", input=Order)


@failing.action(InputEvent)
async def sell_failing(event, ctx):
    ctx.output(await ctx.durable(flaky, event.input.amount))
"""


@pytest.fixture
def parked(job: Job) -> Job:
    """A run, `a`, that is parked: its payment was interrupted, and is in doubt."""
    job.add_to_module(ASKS)
    asyncio.run(interrupt(job, load_agent(f"{job.module}:asking")))
    job.give({"product": "tea", "amount": 1, "n": "a"})
    assert 1 == job.run("--id=n", agent=f"{job.module}:asking")
    return job


async def interrupt(job: Job, agent: Agent) -> None:
    settings = WorkerSettings(shutdown_grace_seconds=0.0)
    async with Worker(agent, store=SqliteStore(job.store), settings=settings) as worker:
        await worker.submit({"product": "tea", "amount": 1}, key="tea", id="a")
        await module_of(job)["begun"].wait()


def module_of(job: Job) -> dict[str, Any]:
    """What the agent's module holds."""
    return vars(sys.modules[job.module.stem])


def shown(job: Job, run: str = "a") -> dict[str, Any]:
    """What `show --json` says."""
    assert 0 == job.command("show", run, f"--store={job.store}", "--json")
    found: dict[str, Any] = json.loads(job.written)
    return found


def status(job: Job, run: str = "a") -> str:
    return str(shown(job, run)["status"])


def test_a_parked_run_is_listed_with_its_reason(parked: Job) -> None:
    """By its state and its key; the table and the object say the same."""
    assert 0 == parked.command("runs", f"--store={parked.store}", "--status=parked", "--json")
    listing = json.loads(parked.written)

    (run,) = listing["runs"]
    assert ("a", "shop", "tea", "parked") == (
        run["run"],
        run["agent"],
        run["key"],
        run["status"],
    )
    assert "pay" in run["reason"]
    assert {"parked": 1} == listing["counts"]
    assert 0 == parked.command("runs", f"--store={parked.store}", "--key=tea")
    assert "1 of 1 runs: 1 parked" == parked.written.splitlines()[-1]
    assert 0 == parked.command("runs", f"--store={parked.store}", "--key=nut")
    assert "0 of 1 runs: 1 parked" == parked.written.splitlines()[-1]


def test_the_timeline_marks_the_call_in_doubt(parked: Job) -> None:
    """With what a person needs to resolve it."""
    (call,) = [step for step in shown(parked)["steps"] if step["what"] == "call"]

    assert ("in doubt", "pay(1)", 1, "0:sell_asking:root:0", "root:0") == (
        call["status"],
        call["call"],
        call["attempt"],
        call["call_id"],
        call["place"],
    )
    assert 0 == parked.command("show", "a", f"--store={parked.store}")
    assert "run a of agent shop, key tea: parked" == parked.written.splitlines()[0]
    assert "in doubt" in parked.written


@pytest.mark.parametrize(
    ("outcome", "ended", "output"),
    [
        (["--value=41"], "completed", [41]),
        (["0:sell_asking:root:0", "--value={}"], "completed", [{}]),
        (["--rerun"], "completed", [1]),
        (["--error=it never arrived"], "failed", []),
    ],
)
def test_a_call_in_doubt_is_resolved_where_nobody_owns_the_store(
    outcome: list[str], ended: str, output: list[object], parked: Job
) -> None:
    """The next worker goes on from there."""
    code = parked.command("resolve", "a", *outcome, f"--store={parked.store}")

    assert (0, "run a goes on: the next worker takes it up\n") == (code, parked.written)
    parked.run("--id=n", agent=f"{parked.module}:asking")
    view = shown(parked)
    assert (ended, output) == (view["status"], view["outputs"])
    if ended == "failed":
        assert "it never arrived" in view["reason"]


def test_a_failed_run_is_retried(job: Job) -> None:
    """With its failed call made again, where that is asked for."""
    job.add_to_module(ASKS)
    job.give({"product": "tea", "amount": 1, "n": "a"})
    agent = f"{job.module}:failing"
    assert 1 == job.run("--id=n", agent=agent)
    module_of(job)["is_broken"] = False

    assert 0 == job.command("retry", "a", f"--store={job.store}")
    assert 1 == job.run("--id=n", agent=agent)
    assert 0 == job.command("retry", "a", f"--store={job.store}", "--repeat-failed")
    assert 0 == job.run("--id=n", agent=agent)
    assert "completed" == status(job)
    assert [1] == [line["value"] for line in job.outputs()]


@pytest.fixture
def dead_letters(job: Job) -> Job:
    """Runs `a`, `b` and `c` that failed, in this order, and `d` that completed."""
    orders = [("a", "tea", -1), ("b", "nut", -22), ("c", "tea", -3), ("d", "tea", 4)]
    job.give(*({"product": p, "amount": amount, "n": n} for n, p, amount in orders))
    assert 1 == job.run("--id=n")
    return job


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], "abc"),
        (["--key=tea"], "ac"),
        (["--key=rice"], ""),
        (["--agent=shop"], "abc"),
        (["--agent=other"], ""),
        (["--error=-22 is owed"], "b"),
        (["--limit=2"], "ab"),
        (["--key=tea", "--error=ValueError", "--limit=1"], "a"),
    ],
    ids=" ".join,
)
def test_dead_letters_are_listed_and_put_back_together(
    options: list[str], found: str, dead_letters: Job
) -> None:
    """Those that are wanted; a rehearsal lists the same and changes nothing."""
    arguments = ["retry", "--all-failed", f"--store={dead_letters.store}", *options]

    assert 0 == dead_letters.command(*arguments, "--dry-run")
    *rehearsed, would = dead_letters.written.splitlines()
    assert list(found) == [line.split()[0] for line in rehearsed[3:]]
    assert would.endswith("failed runs would be put back to work")
    assert ["failed"] * 3 == [status(dead_letters, run) for run in "abc"]
    assert 0 == dead_letters.command(*arguments)
    *listed, told = dead_letters.written.splitlines()
    assert (rehearsed, would) == (listed, told.replace("are put", "would be put"))
    assert told.startswith(f"{len(found)} of ")
    again = {run for run in "abcd" if status(dead_letters, run) == "accepted"}
    assert set(found) == again


@pytest.mark.parametrize("shared", [False, True])
def test_dead_letters_are_put_back_by_the_worker_that_has_them(
    dead_letters: Job, *, shared: bool
) -> None:
    """They run again at once."""
    store = f"--store={dead_letters.store}"

    def command() -> int:
        return dead_letters.command("retry", "--all-failed", "--repeat-failed", store)

    assert 0 == with_worker(dead_letters, command, shared=shared, agent="agent")
    assert "3 of 3 failed runs are put back to work" in dead_letters.written
    steps = [[step["what"] for step in shown(dead_letters, run)["steps"]] for run in "abc"]
    assert [("run retried", "run failed")] * 3 == [
        (next(s for s in found if s == "run retried"), found[-1]) for found in steps
    ]


def test_a_dead_letter_that_changed_since_it_was_listed_stays(
    dead_letters: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else decided about it; the others are put back."""
    monkeypatch.setattr(_retry, "_RUNS_AT_ONCE", 1)
    store = f"--store={dead_letters.store}"
    decided = [["cancel", "b", store]]

    def put_back(path: Path, command: Command, told: str) -> Executed:
        while decided:
            assert 0 == dead_letters.command(*decided.pop())
        return steer(path, command, told)

    monkeypatch.setattr(_retry, "steer", put_back)
    assert 0 == dead_letters.command("retry", "--all-failed", store)

    assert "2 of 3 failed runs are put back to work" in dead_letters.written
    assert "1 had changed meanwhile, and stay as they are\n" == dead_letters.told
    assert ["accepted", "cancelled", "accepted"] == [status(dead_letters, r) for r in "abc"]


def test_a_parked_run_is_cancelled_with_a_reason(parked: Job) -> None:
    """It ends at once, and its key goes on."""
    options = [f"--store={parked.store}", "--reason=the shop is closed"]

    assert 0 == parked.command("cancel", "a", *options)

    view = shown(parked)
    assert ("cancelled", "the shop is closed") == (view["status"], view["reason"])
    assert 0 == parked.run("--id=n", agent=f"{parked.module}:asking")


def test_ended_runs_are_pruned(job: Job) -> None:
    """By age and number; failed ones only if asked for."""
    job.give(*({"product": "tea", "amount": n, "n": str(n)} for n in (-1, 1, 2, 3)))
    job.run("--id=n")
    store = f"--store={job.store}"

    assert 0 == job.command("prune", store, "--older-than=1h")
    assert "0 runs forgotten\n" == job.written
    assert 0 == job.command("prune", store, "--keep=1")
    assert "2 runs forgotten\n" == job.written
    assert 0 == job.command("prune", store, "--older-than=0s", "--failed")
    assert "2 runs forgotten\n" == job.written


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["show", "b"], "there is no run 'b'"),
        (["retry", "b"], "run b: the store has no run of this id"),
        (["cancel", "b"], "run b: the store has no run of this id"),
        (["resolve", "b", "--rerun"], "run b: the store has no run of this id"),
        (["resolve", "a", "0:x:root:7", "--rerun"], "calls in doubt: 0:sell_asking:root:0"),
        (["retry"], "the id of a run, or --all-failed"),
        (["retry", "a", "--all-failed"], "the id of a run, or --all-failed"),
        (["retry", "a", "--limit=1"], "go with --all-failed"),
        (["retry", "a", "--dry-run"], "go with --all-failed"),
        (["fork", "b"], "run b: the store has no run of this id"),
        (["fork", "a", "0:x:root:7"], "it has no call '0:x:root:7' on record; calls: 0:sell_"),
        (["fork", "a", "--value=1"], "say which call has this outcome"),
        (["fork", "a", "--id=a"], "there is another run of this id"),
        (["complete", "a"], "'a' is no id of a promise"),
        (["complete", promise_id("b", "0:x:root:7")], "run b: the store has no run of this id"),
        (["signal", "a", "durable_agents:promise:0:x:root:7"], "complete it by its id"),
        (["prune"], "say what to keep"),
    ],
)
def test_what_cannot_be_decided_is_a_usage_error(
    arguments: list[str], problem: str, parked: Job
) -> None:
    """One line, and nothing is changed."""
    before = shown(parked)

    code = parked.command(*arguments, f"--store={parked.store}")

    assert (2, 1) == (code, len(parked.told.splitlines()))
    assert problem in parked.told
    assert before == shown(parked)


@pytest.mark.parametrize("command", ["retry", "cancel"])
def test_a_completed_run_stays_as_it_is(command: str, job: Job) -> None:
    """Its state does not allow it."""
    job.give({"product": "tea", "amount": 1, "n": "a"})
    job.run("--id=n")

    assert 2 == job.command(command, "a", f"--store={job.store}")
    assert "run a: it is completed; only" in job.told


@pytest.mark.parametrize(
    "arguments",
    [
        ["resolve", "a"],
        ["resolve", "a", "--rerun", "--value=1"],
        ["resolve", "a", "--value={"],
        ["resolve", "a", "--value=" + "[" * 100_000],
        ["resolve", "a", "--value=\udcff"],
        ["fork", "a", "0:x:root:7", "--value=1", "--error=no"],
        ["complete"],
        ["complete", "promise-a-x", "--value=1", "--error=no"],
        ["pause"],
        ["pause", "shop", "--key=\udcff"],
        ["prune", "--older-than=soon"],
        ["prune", "--keep=-1"],
        ["runs", "--status=lost"],
        ["runs", "--limit=0"],
        ["show"],
    ],
)
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str], job: Job) -> None:
    """As argparse has it."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, f"--store={job.store}"])

    assert 2 == ended.value.code


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs"],
        ["show", "a"],
        ["retry", "a"],
        ["retry", "--all-failed"],
        ["cancel", "a"],
        ["resolve", "a", "--rerun"],
        ["fork", "a"],
        ["pause", "shop"],
        ["resume", "shop"],
        ["prune", "--keep=1"],
    ],
)
def test_a_store_that_is_not_there_is_not_made(arguments: list[str], job: Job) -> None:
    """A typing error in a path is a store error."""
    code = job.command(*arguments, f"--store={job.store}")

    assert (3, False) == (code, job.store.exists())
    assert "there is no such file" in job.told


def with_worker(
    job: Job, commands: Callable[[], T], *, shared: bool = False, agent: str = "asking"
) -> T:
    """Call the command line while a worker has the store; it then does what it has to."""
    loaded = load_agent(f"{job.module}:{agent}")

    async def work() -> T:
        store = SqliteStore(job.store, shared=shared)
        async with Worker(loaded, store=store) as worker:
            found = await asyncio.to_thread(commands)
            await worker.drain()
            return found

    return asyncio.run(work())


WAITS = """
waiting = Agent("shop", input=Order)


@waiting.action(InputEvent)
async def wait_for_payment(event, ctx):
    decision = await ctx.approve("sell?")
    ctx.output([decision.approved, await ctx.wait_for_signal("paid")])
"""


@pytest.mark.parametrize("owned", [True, False])
def test_a_signal_reaches_a_run_that_waits(job: Job, *, owned: bool) -> None:
    """Through its worker, or through the store; and what it waits for is shown."""
    job.add_to_module(WAITS)
    store = f"--store={job.store}"

    def commands() -> list[int]:
        answer = ["approval:root:0", '{"approved": true}', "--id=1"]
        sent = [answer, answer, ["paid", "3"]]
        return [job.command("signal", "a", *arguments, store) for arguments in sent]

    agent = load_agent(f"{job.module}:waiting")
    asyncio.run(waiting_for_a_person(job, agent))
    (wait,) = waits(shown(job))
    assert ("waits", "approval:root:0(sell?)") == (wait["status"], wait["call"])

    codes = with_worker(job, commands, agent="waiting") if owned else commands()

    assert [0, 0, 0] == codes
    assert "signal paid for run a: " in job.written
    assert [[True, 3]] == outputs_of_life(job, agent)
    assert 2 == sum(step["what"] == "signal received" for step in shown(job)["steps"])


PROMISES = """
paying = Agent("shop", input=Order)


@paying.action(InputEvent)
async def wait_for_provider(event, ctx):
    paid, sent = ctx.promise(int), ctx.promise()
    try:
        told = await sent.result()
    except Exception as error:
        told = f"{type(error).__name__}: {error.text}"
    ctx.output([await paid.result(), told])
"""


@pytest.mark.parametrize("owned", [True, False])
def test_a_promise_is_completed_from_outside(job: Job, *, owned: bool) -> None:
    """Through its worker, or through the store, by the id that `show` tells; each once."""
    job.add_to_module(PROMISES)
    store = f"--store={job.store}"
    agent = load_agent(f"{job.module}:paying")
    asyncio.run(waiting_for_a_person(job, agent))
    steps = [s for s in shown(job)["steps"] if s["what"] == "promise made"]
    assert ["root:0", "root:1"] == [step["place"] for step in steps]
    paid, sent = (step["detail"] for step in steps)
    (wait,) = waits(shown(job))
    assert ("waits", "promise at root:1") == (wait["status"], wait["call"])

    def commands() -> list[tuple[int, str]]:
        given = [
            (paid, "--value=3"),
            (paid, "--value=3"),
            (paid, "--value=4"),
            (paid[:-1], "--value=3"),
            (sent, "--error=lost"),
        ]
        return [
            (job.command("complete", *arguments, store), job.written + job.told)
            for arguments in given
        ]

    told = with_worker(job, commands, agent="paying") if owned else commands()

    who = "its worker has it" if owned else "the next worker takes it up"
    assert [0, 0, 2, 2, 0] == [code for code, _ in told]
    promise = "promise 0:wait_for_provider:root:0 of run a"
    assert f"{promise}: {who}\n" == told[0][1]
    assert f"{promise}: it was completed so before\n" == told[1][1]
    assert "was completed before, with something else: that stays" in told[2][1]
    assert "is no id of a promise" in told[3][1]
    assert [[3, "PromiseFailedError: lost"]] == outputs_of_life(job, agent)
    assert 0 == job.command("doctor", store)


@pytest.mark.parametrize("mode", ["owned", "shared", "nobody's"])
def test_a_run_is_forked_by_its_worker_or_in_the_store(job: Job, mode: str) -> None:
    """The other run stays as it is; the timeline of the fork says whence it comes."""
    job.give({"product": "tea", "amount": 1, "n": "a"})
    job.run("--id=n")
    before, store = shown(job), f"--store={job.store}"
    call = "0:sell:root:0"

    def commands() -> list[tuple[int, str]]:
        edited = ["fork", "a", call, "--value=40", "--id=b"]
        forks = [
            edited,
            edited,
            ["fork", "a", call, "--error=sold out", "--id=c"],
            ["fork", "a"],
        ]
        return [(job.command(*arguments, store), job.written) for arguments in forks]

    told = commands() if mode == "nobody's" else None
    worked = with_worker(
        job, commands if told is None else list, agent="agent", shared=mode == "shared"
    )
    told = told or worked

    who = "its worker has it" if mode == "owned" else "the next worker takes it up"
    assert [0, 0, 0, 0] == [code for code, _ in told]
    assert f"run b is forked from run a: {who}\n" == told[0][1]
    assert "run b is forked from run a: it was made before\n" == told[1][1]
    assert told[3][1].startswith("run a:fork-")
    fork = shown(job, "b")
    assert ("completed", [{"product": "tea", "sum": 40}]) == (fork["status"], fork["outputs"])
    assert ("run forked", f"from run a, before {call}") == (
        fork["steps"][1]["what"],
        fork["steps"][1]["detail"],
    )
    assert "sold out" in shown(job, "c")["reason"]
    assert before == shown(job)
    assert 0 == job.command("doctor", store)


@pytest.mark.parametrize("owned", [True, False])
def test_a_key_is_paused_and_resumed(job: Job, *, owned: bool) -> None:
    """By its worker, or in the store; what is paused is listed."""
    job.give({"product": "tea", "amount": 1, "n": "a"})
    job.run("--id=n")
    store = f"--store={job.store}"

    def pause() -> list[tuple[int, str]]:
        asked = [["pause", "shop", "--key=tea", "--reason=no\ttea"], ["pause", "shop"]]
        return [(job.command(*arguments, store), job.written) for arguments in asked]

    def resume() -> list[tuple[int, str]]:
        asked = [["resume", "shop"], ["resume", "shop", "--key=tea"], ["resume", "shop"]]
        return [(job.command(*arguments, store), job.written) for arguments in asked]

    paused = with_worker(job, pause, agent="agent") if owned else pause()
    assert [
        (0, "agent shop, key tea, is paused: no\\ttea\n"),
        (0, "agent shop is paused: paused by a person\n"),
    ] == paused
    assert 0 == job.command("runs", store)
    *_, every, one, _ = job.written.splitlines()
    assert every.startswith("paused since 2")
    assert "agent shop, all keys: paused by" in every
    assert one.endswith("agent shop, key tea: no\\ttea")
    assert 0 == job.command("runs", store, "--json")
    listed = json.loads(job.written)["paused"]
    assert [("shop", None), ("shop", "tea")] == [(p["agent"], p["key"]) for p in listed]
    resumed = with_worker(job, resume, agent="agent") if owned else resume()
    assert [
        (0, "agent shop goes on\n"),
        (0, "agent shop, key tea, goes on\n"),
        (0, "agent shop was not paused\n"),
    ] == resumed


def test_lines_of_a_paused_key_are_counted_and_not_waited_for(job: Job) -> None:
    """The same command goes on with them when the key is resumed."""
    store = f"--store={job.store}"
    job.give({"product": "nut", "amount": 1, "n": "first"})
    job.run("--id=n")
    assert 0 == job.command("pause", "shop", "--key=tea", store)
    job.give(
        *({"product": p, "amount": 1, "n": f"{p} {n}"} for p in ("tea", "nut") for n in "12")
    )

    code, report = job.report("--id=n")
    assert (1, 2, 2) == (code, report["completed"], report["waiting"])
    assert 0 == job.command("resume", "shop", "--key=tea", store)
    code, report = job.report("--id=n")
    assert (0, 4, 0) == (code, report["completed"], report["waiting"])


def waits(view: dict[str, Any]) -> list[dict[str, Any]]:
    """Steps of a run that are waits."""
    return [step for step in view["steps"] if step["what"] == "wait"]


async def waiting_for_a_person(job: Job, agent: Agent) -> None:
    """A life that ends while the run waits."""
    settings = WorkerSettings(shutdown_grace_seconds=0.0)
    async with Worker(agent, store=SqliteStore(job.store), settings=settings) as worker:
        await worker.submit({"product": "tea", "amount": 1}, key="tea", id="a")
        async with asyncio.timeout(10):
            while not waits(await asyncio.to_thread(shown, job)):
                pass


def outputs_of_life(job: Job, agent: Agent) -> list[Any]:
    """What the run comes to in another life."""

    async def live() -> list[Any]:
        async with Worker(agent, store=SqliteStore(job.store)) as worker:
            run = await worker.submit({"product": "tea", "amount": 1}, key="tea", id="a")
            return await run.result()

    return asyncio.run(live())


@pytest.mark.parametrize(
    ("arguments", "ended"),
    [
        (["resolve", "a", "--value=41"], "completed"),
        (["retry", "a"], "parked"),
        (["cancel", "a"], "cancelled"),
    ],
)
def test_the_worker_that_owns_the_store_does_it(
    arguments: list[str], ended: str, parked: Job
) -> None:
    """Through its socket, and at once."""

    def command() -> int:
        return parked.command(*arguments, f"--store={parked.store}")

    code = with_worker(parked, command)

    assert (0, ended) == (code, status(parked))
    assert not Path(f"{parked.store}.sock").exists()


@pytest.mark.parametrize(
    ("arguments", "ended"),
    [
        (["resolve", "a", "--value=41"], "completed"),
        (["retry", "a"], "parked"),
        (["cancel", "a"], "cancelled"),
    ],
)
def test_workers_that_share_the_store_take_up_what_was_decided(
    arguments: list[str], ended: str, parked: Job
) -> None:
    """None of them owns it, so the command decides beside them."""

    def command() -> int:
        return parked.command(*arguments, f"--store={parked.store}")

    code = with_worker(parked, command, shared=True)

    assert (0, ended) == (code, status(parked))


def test_what_the_worker_refuses_is_told_as_without_it(parked: Job) -> None:
    """The same words and the same code."""

    def commands() -> list[tuple[int, str]]:
        store = f"--store={parked.store}"
        found = [(parked.command("retry", "b", store), parked.told)]
        found.append((parked.command("prune", "--keep=0", store), parked.written))
        return found

    refused, pruned = with_worker(parked, commands)

    assert (0, "0 runs forgotten\n") == pruned
    assert 2 == refused[0]
    assert "run b: the store has no run of this id" in refused[1]


def test_a_command_leaves_on_record_how_the_last_worker_ended(job: Job) -> None:
    """A run that killed its worker is told apart by it; a command is no worker."""
    job.give({"product": "tea", "amount": -1, "n": "a"})
    job.run("--id=n")
    with sqlite3.connect(job.store) as connection:
        connection.execute("UPDATE meta SET value = '0' WHERE name = 'was_closed'")
    connection.close()

    assert 0 == job.command("retry", "a", f"--store={job.store}")

    async def facts() -> StoreFacts:
        store = SqliteStore(job.store)
        found = await store.open("worker 2")
        await store.close()
        return found

    assert not asyncio.run(facts()).was_closed


def test_a_worker_that_comes_between_is_asked_after_all(
    parked: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had not begun to listen when it was asked first."""
    ask = _visit.ask_owner
    answers = [False]

    async def late(path: Path, command: Command) -> int | None:
        if answers:
            answers.pop()
            raise ConnectionRefusedError
        return await ask(path, command)

    monkeypatch.setattr(_visit, "ask_owner", late)
    code = with_worker(parked, lambda: parked.command("cancel", "a", f"--store={parked.store}"))

    assert (0, "cancelled") == (code, status(parked))


def test_an_owner_that_does_not_listen_is_named(parked: Job) -> None:
    """It may be of an older version, or another command."""

    def command() -> int:
        Path(f"{parked.store}.sock").unlink()
        return parked.command("cancel", "a", f"--store={parked.store}")

    assert 3 == with_worker(parked, command)
    assert "it is owned by shop (process " in parked.told
