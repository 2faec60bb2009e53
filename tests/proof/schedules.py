"""Record runs under one schedule, crash, replay them under others, and compare with the model.

    python -m tests.proof.schedules --seeds 2000          seeds 0 to 1999
    python -m tests.proof.schedules --seeds 1 --seed 17   that one again, with its trees

Everything that is left to chance in a case is drawn from its seed: the trees, the order in
which ready handles run, how long calls and commits take, and when the process dies.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from durable_agents import InMemoryStore
from tests.crash.verdict import Verdict, conclude
from tests.proof.model_tree import Node, grown
from tests.proof.model_trial import Trial
from tests.proof.schedule_loop import Chance, RandomLoop, acting_as

__all__ = ["Case", "SlowStore", "lived", "main", "played"]

MOST_CRASHES = 4
LONGEST_CALL = 60
"""Passes of the loop; far more than an action needs to come to rest."""
LONGEST_COMMIT = 20


@dataclass
class Case:
    """One seed, and what came of it."""

    seed: int
    trees: dict[str, Node]
    crashes: int = 0
    calls: int = 0
    forks: int = 0
    ties: int = 0
    """Calls that were given up in the pass in which they would have returned: see `Chance`."""
    breaches: list[str] = field(default_factory=list[str])


class SlowStore(InMemoryStore):
    """A store whose transactions take as long as the lot says."""

    chance: Chance

    async def _commit(self, batch: Sequence[Any]) -> None:
        with acting_as("the disk"):
            await self.chance.passes(LONGEST_COMMIT)
            await super()._commit(batch)
            await self.chance.passes(LONGEST_COMMIT)


def played(seed: int) -> Case:
    """Play the case of a seed to its end."""
    chance = Chance(seed)
    trees = {f"run-{n}": grown(chance) for n in range(chance.randint(1, 3))}
    case = Case(seed, trees)
    store = SlowStore()
    trial = Trial(trees, store)
    play(case, trial, store, chance)
    store.chance = Chance(chance.random())
    with asyncio.Runner(loop_factory=lambda: RandomLoop(store.chance)) as runner:
        fork = runner.run(trial.forked(chance.choice(list(trees)), chance.choice))
    if fork is not None:
        case.forks += 1
        play(case, fork, store, chance)
    return case


def play(case: Case, trial: Trial, store: SlowStore, chance: Chance) -> None:
    """Live as often as it takes for all runs of a trial to end."""
    for life in count():
        store.chance = Chance(chance.random())
        after = chance.randint(1, 12) if life < MOST_CRASHES else None
        has_crashed = lived(trial, store.chance, after)
        case.crashes += has_crashed
        case.ties += store.chance.ties
        if not has_crashed:
            break
    case.calls += trial.witness.executions.total()
    case.breaches += trial.witness.breaches
    if missing := trial.trees.keys() - trial.results.keys():
        case.breaches.append(f"not ended: {sorted(missing)}")


def lived(
    trial: Trial, chance: Chance, after: int | None, *, commits: bool | None = None
) -> bool:
    """One life under a schedule of its own, and a look at what it left; whether it crashed.

    Args:
        trial: Whose.
        chance: Draws the schedule.
        after: Writes before it crashes, see `Trial.live`.
        commits: See `Trial.live`.
    """

    async def delay(_: str) -> None:
        await chance.passes(LONGEST_CALL)

    async def life() -> bool:
        has_crashed = await trial.live(after, delay, commits=commits)
        trial.witness.breaches = await trial.examine()
        return has_crashed

    with asyncio.Runner(loop_factory=lambda: RandomLoop(chance)) as runner:
        return runner.run(life())


def main(arguments: Sequence[str] | None = None) -> int:
    """Play cases; returns the exit status: 1 where a claim was breached."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.schedules")
    parser.add_argument("--seeds", type=int, default=2000, help="how many (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="the first one (default 0)")
    options = parser.parse_args(arguments)
    # A task that an action leaves behind is worth a warning, but not one per seed.
    logging.getLogger("durable_agents").setLevel(logging.ERROR)
    began = time.perf_counter()
    cases = crashes = calls = forks = failed = tied = 0
    for seed in range(options.seed, options.seed + options.seeds):
        case = played(seed)
        cases, crashes, calls = cases + 1, crashes + case.crashes, calls + case.calls
        forks += case.forks
        if case.breaches or options.seeds == 1:
            sys.stdout.write(told(case))
        failed += bool(case.breaches and not case.ties)
        tied += bool(case.breaches and case.ties)
    seconds = time.perf_counter() - began
    verdict = Verdict(
        layer="schedules",
        claims=("C1", "C2", "C3", "C5"),
        tried=f"{cases} schedules, {forks} forks, {crashes} crashes",
        violations=failed,
        seconds=seconds,
    )
    report = (
        f"{cases} schedules, {forks} forks, {crashes} crashes, {calls} calls, "
        f"{failed} with violations, {tied} decided by a tie, {seconds:.0f} s"
    )
    return conclude(report, [], verdict)


def told(case: Case) -> str:
    """A case for people, with the command that plays it again."""
    trees = [f"  {run}: {tree}" for run, tree in case.trees.items()]
    breaches = [f"  ! {breach}" for breach in dict.fromkeys(case.breaches)]
    again = f"seed {case.seed}: python -m tests.proof.schedules --seeds 1 --seed {case.seed}"
    return "\n".join([again, *trees, *breaches, ""])


if __name__ == "__main__":
    sys.exit(main())
