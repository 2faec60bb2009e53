"""Whatever an action does with asyncio, and whatever befalls its process, the model is right.

A state machine plays one tree at a time: its calls settle in any order, the process dies
between two of them or at any write, another one takes over, somebody cancels the run.
`nox -s model -- N` plays N of them.
"""

import asyncio
import os
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from durable_agents import InMemoryStore, RunError
from tests.proof.model_engine import HANGS_FOR
from tests.proof.model_tree import grown
from tests.proof.model_trial import Trial
from tests.proof.schedule_loop import RandomLoop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

RUN = "run"
MOST_STEPS = 1000
"""Far more than a tree has calls and timers."""
LONGEST_WAIT = 100.0
"""Seconds of the loop's clock, more than any timer of a worker takes."""
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "40"))


class Lives(RuleBasedStateMachine):
    """One run over several lives, its calls held at gates."""

    def __init__(self) -> None:
        super().__init__()
        self.runner: asyncio.Runner | None = None
        self.life: asyncio.Task[bool] | None = None
        self.gates: dict[str, asyncio.Future[None]] = {}

    @initialize(chance=st.randoms(use_true_random=False))
    def accept(self, chance: Random) -> None:
        self.tree = grown(chance)
        self.trial = Trial({RUN: self.tree}, InMemoryStore())

    @property
    def loop(self) -> RandomLoop:
        assert self.runner is not None
        loop = self.runner.get_loop()
        assert isinstance(loop, RandomLoop)
        return loop

    @property
    def has_ended(self) -> bool:
        return not hasattr(self, "trial") or RUN in self.trial.results

    @precondition(lambda self: self.life is None)
    @rule(after=st.one_of(st.none(), st.integers(1, 12)), seed=st.integers(0, 2**32))
    def start_or_recover(self, after: int | None, seed: int) -> None:
        chance = Random(seed)  # noqa: S311 - not a secret
        self.runner = asyncio.Runner(loop_factory=lambda: RandomLoop(chance))
        self.gates = {}
        self.life = self.loop.create_task(self.trial.live(after, self.hold))
        self.go_on()

    async def hold(self, name: str) -> None:
        """Keep a call until the machine settles it."""
        self.gates[name] = asyncio.get_running_loop().create_future()
        try:
            await self.gates[name]
        finally:
            self.gates.pop(name, None)

    def go_on(self) -> None:
        """Let everything happen that waits for no call and no timer."""
        self.loop.run_to_rest()
        if self.life is not None and self.life.done():
            self.end_life()

    def end_life(self) -> None:
        assert self.runner is not None
        assert self.life is not None
        self.life.result()
        self.life = None
        self.gates = {}
        self.trial.witness.breaches = self.runner.run(self.trial.examine())
        self.runner.close()
        self.runner = None

    @precondition(lambda self: self.gates)
    @rule(data=st.data(), together=st.integers(1, 3))
    def settle(self, data: st.DataObject, together: int) -> None:
        for _ in range(min(together, len(self.gates))):
            self.gates.pop(data.draw(st.sampled_from(sorted(self.gates)))).set_result(None)
        self.go_on()

    @precondition(lambda self: self.life is not None and not self.gates)
    @rule()
    def let_time_pass(self) -> None:
        self.loop.wait(most=HANGS_FOR)
        self.go_on()

    @precondition(lambda self: self.life is not None)
    @rule()
    def crash(self) -> None:
        self.trial.crash()
        self.go_on()

    @precondition(lambda self: self.trial.worker is not None if self.life else False)
    @rule(crashes=st.booleans())
    def cancel(self, crashes: bool) -> None:
        worker = self.trial.worker
        assert worker is not None
        self.trial.cancelled.add(RUN)

        async def ask() -> None:
            try:
                await worker.cancel(RUN, "the model says so")
            except RunError:
                return  # it has ended, or is not taken in

        asking = self.loop.create_task(ask())
        if crashes:
            self.loop.call_soon(self.trial.crash)
        self.go_on()
        asking.cancel()

    @invariant()
    def no_claim_is_breached(self) -> None:
        if hasattr(self, "trial"):
            assert [] == self.trial.witness.breaches

    def teardown(self) -> None:
        """The run ends, and came to what the model says."""
        if self.life is None and not self.has_ended:
            self.start_or_recover(after=None, seed=0)
        for _ in range(MOST_STEPS):
            if self.life is None:
                break
            for gate in list(self.gates.values()):
                gate.set_result(None)
            self.gates.clear()
            self.loop.wait(most=LONGEST_WAIT)
            self.go_on()
        if self.life is None and not self.has_ended:
            self.teardown()
        assert self.life is None
        assert self.has_ended
        self.no_claim_is_breached()


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None)
