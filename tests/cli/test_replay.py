"""`replay --check`: what today's code would come to over the open runs of a store."""

import asyncio
import json
import re
import sys
from typing import Any

import pytest

from durable_agents import Agent, SqliteStore, Worker, WorkerSettings
from durable_agents.cli._agents import load_agent
from tests.cli._job import Job

VERSIONS = """
import asyncio

reached = asyncio.Event()


async def ask(question):
    return question


def waiting(*questions, name="sell", agent="shop", change=None):
    made_agent = Agent(agent, input=Order)

    async def sell(event, ctx):
        print("an action prints")
        version = 2 if change is None else ctx.version(change, 1, 2)
        for question in questions[version - 1:]:
            await ctx.durable(ask, question)
        reached.set()
        ctx.output(await ctx.wait_for_signal("go"))

    made_agent.add_action(name, InputEvent, sell)
    return made_agent


recorded = waiting("", "a", "b")
same = waiting("", "a", "b")
changed = waiting("", "a", "c")
guarded = waiting("a", "b", change="shorter")
renamed = waiting("", "a", "b", name="give")
other = waiting("", "a", "b", agent="another")
"""


@pytest.fixture
def shop(job: Job) -> Job:
    """A run, `a`, that waits behind two calls, and one, `b`, that waits for it."""
    job.add_to_module(VERSIONS)
    agent = load_agent(f"{job.module}:recorded")
    asyncio.run(leave_waiting(job, agent))
    assert 0 == job.command("runs", f"--store={job.store}")  # takes what the action printed
    return job


async def leave_waiting(job: Job, agent: Agent) -> None:
    settings = WorkerSettings(shutdown_grace_seconds=0.0)
    async with Worker(agent, store=SqliteStore(job.store), settings=settings) as worker:
        for name in ("a", "b"):
            await worker.submit({"product": "tea", "amount": 1}, key="tea", id=name)
        await vars(sys.modules[job.module.stem])["reached"].wait()


def check(job: Job, agent: str, *options: str) -> int:
    """The command over the job's store."""
    return job.command(
        "replay", "--check", f"{job.module}:{agent}", f"--store={job.store}", *options
    )


def found(job: Job, agent: str, *options: str) -> tuple[int, dict[str, Any]]:
    """Its exit code and the object that it writes."""
    code = check(job, agent, "--json", "--quiet", *options)
    report: dict[str, Any] = json.loads(job.written)
    return code, report


@pytest.mark.parametrize(
    ("agent", "code", "counts"),
    [
        ("same", 0, {"safe": 2, "diverges": 0, "gone": 0}),
        ("changed", 1, {"safe": 1, "diverges": 1, "gone": 0}),
        ("guarded", 0, {"safe": 2, "diverges": 0, "gone": 0}),
        ("renamed", 1, {"safe": 1, "diverges": 0, "gone": 1}),
    ],
)
def test_each_open_run_is_safe_or_it_is_told_why_not(
    shop: Job, agent: str, code: int, counts: dict[str, int]
) -> None:
    """A run that has recorded nothing yet is safe with any code."""
    before = shop.store.read_bytes()

    ended, report = found(shop, agent)
    assert (code, counts) == (ended, report["counts"])
    assert before == shop.store.read_bytes()


def test_the_difference_is_told_for_each_action(shop: Job) -> None:
    """What was recorded, where, and what the code does now."""
    _, report = found(shop, "changed")

    one, other = report["runs"]
    (action,) = one["actions"]
    assert ("a", "tea", "accepted", "diverges") == tuple(
        one[name] for name in ("run", "key", "status", "safety")
    )
    assert ("sell", 0, "diverges") == tuple(action[n] for n in ("action", "event", "safety"))
    assert action["difference"].startswith("the code no longer repeats its calls: recorded ")
    assert "ask('b') at root:1, now " in action["difference"]
    assert ("b", "safe", []) == tuple(other[name] for name in ("run", "safety", "actions"))


def test_people_are_told_what_to_do(shop: Job) -> None:
    """With a line for each run that is not safe."""
    assert 1 == check(shop, "changed")
    lines = shop.written.splitlines()

    assert f"runs of agent shop in {shop.store}, replayed against today's code" == lines[0]
    assert "safe         1  the code repeats what is on record" == lines[3]
    assert re.fullmatch(
        "fingerprint of the code: [0-9a-f]{16}; actions: sell [0-9a-f]{16}", lines[6]
    )
    assert "run a, key tea (accepted): diverges" == lines[7]
    assert lines[8].startswith("  action sell: the code no longer repeats its calls")
    assert lines[8].endswith("the code of action 'sell' changed since this run began it")
    assert lines[9].startswith("what to do where it says 'diverges': guard the change by `ctx")
    assert "an action prints" in shop.told
    assert 1 == check(shop, "renamed")
    assert "action 'sell' has begun over event 0" in shop.written
    assert "where it says 'gone': keep the action" in shop.written


def test_runs_of_other_agents_are_counted_and_not_looked_at(shop: Job) -> None:
    """Nobody can say what code they need."""
    code, report = found(shop, "other")

    assert (0, [], {"shop": 2}) == (code, report["runs"], report["others"])
    assert 0 == check(shop, "other")
    assert "not looked at: 2 runs of agent shop" in shop.written


def test_runs_that_have_ended_are_checked_on_demand(job: Job) -> None:
    """They must end as they did."""
    job.add_to_module("""
        louder = Agent("shop", input=Order)


        @louder.action(InputEvent, name="sell")
        async def sell_louder(event, ctx):
            paid = await ctx.durable(price, event.input.amount)
            ctx.short_term_memory["sum"] = paid
            ctx.output({"product": event.input.product.upper(), "sum": paid})
        """)
    job.give({"product": "tea", "amount": 1})
    assert 0 == job.run()

    code, report = found(job, "louder")
    assert (0, []) == (code, report["runs"])
    assert 0 == found(job, "agent", "--all")[0]
    code, report = found(job, "louder", "--all", "--patience=1")
    assert (1, 1) == (code, report["counts"]["diverges"])
    assert "outputs were " in report["runs"][0]["actions"][0]["difference"]


def test_many_runs_that_are_not_safe_are_not_all_shown(
    shop: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object has them all."""
    monkeypatch.setattr("durable_agents.cli._replay._MOST_SHOWN", 0)

    assert 1 == check(shop, "changed")

    assert "... and 1 more (--json lists all)" in shop.written


def test_it_has_to_be_told_that_it_only_checks(shop: Job) -> None:
    """Nothing else is there yet, and what will be must not come by surprise."""
    with pytest.raises(SystemExit) as left:
        shop.command("replay", f"{shop.module}:same", f"--store={shop.store}")

    assert 2 == left.value.code


def test_a_store_that_is_not_there_is_an_error_of_the_store(job: Job) -> None:
    """None is made."""
    job.add_to_module(VERSIONS)

    assert 3 == check(job, "same")
    assert not job.store.exists()
