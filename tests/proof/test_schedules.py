"""A replay under another schedule decides as the first life did; and the harness can tell."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from durable_agents.journal import CallKey, CallLog
from tests.proof import schedules
from tests.proof.schedule_loop import RandomLoop, acting_as
from tests.proof.schedules import played

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

QUICK = range(90)
Batches = list[list[CallKey]]


@pytest.mark.parametrize("part", range(3))
def test_no_schedule_changes_what_a_run_comes_to(part: int) -> None:
    """The quick form; `nox -s schedules` plays thousands."""
    cases = [played(seed) for seed in QUICK[part::3]]

    assert [] == [case for case in cases if case.breaches and not case.ties]
    assert all(not case.breaches for case in cases if not case.crashes)
    assert sum(case.crashes for case in cases) > len(cases)


def test_a_seed_is_one_case() -> None:
    """Whoever plays it again sees what was seen."""
    assert played(7) == played(7)
    assert played(7) != played(8)


def later_first(batches: Batches) -> Batches:
    """Outcomes in the order in which nobody saw them."""
    return batches[::-1]


def one_by_one(batches: Batches) -> Batches:
    """Outcomes that came together, apart."""
    return [[key] for batch in batches for key in batch]


def the_other_way_round(batches: Batches) -> Batches:
    """Outcomes that came together, in another order."""
    return [batch[::-1] for batch in batches]


@pytest.mark.parametrize("broken", [later_first, one_by_one, the_other_way_round])
def test_a_replay_in_another_order_is_caught(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[[Batches], Batches]
) -> None:
    """A harness that cannot fail proves nothing."""
    right = CallLog.batches
    monkeypatch.setattr(CallLog, "batches", lambda log: broken(right(log)))

    assert any(played(seed).breaches for seed in range(300))


def test_the_program_says_how_to_play_a_failing_seed_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And ends with 1."""
    found = schedules.Case(5, {}, breaches=["all is lost"])
    monkeypatch.setattr(schedules, "played", lambda _: found)

    status = schedules.main(["--seeds", "1", "--seed", "5"])

    said = capsys.readouterr().out
    assert 1 == status
    assert "all is lost" in said
    assert "--seeds 1 --seed 5" in said


def ready_in_one_pass(seed: int) -> list[str]:
    """What two actors have ready, in the order in which it runs."""
    ran: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in "123":
            for actor in "ab":
                with acting_as(actor):
                    loop.call_soon(ran.append, actor + number)
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=lambda: RandomLoop(Random(seed))) as runner:  # noqa: S311
        runner.run(main())
    return ran


def test_actors_are_mixed_and_each_keeps_its_order() -> None:
    """What asyncio promises holds; what it leaves open is drawn by lot."""
    orders = [ready_in_one_pass(seed) for seed in range(20)]

    assert len({tuple(order) for order in orders}) > 5
    for order in orders:
        assert ["a1", "a2", "a3"] == [name for name in order if name[0] == "a"]
        assert ["b1", "b2", "b3"] == [name for name in order if name[0] == "b"]


def test_hours_cost_nothing() -> None:
    """The clock jumps to the next timer when all is at rest."""

    async def wait() -> float:
        loop = asyncio.get_running_loop()
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(7200))
        return loop.time()

    with asyncio.Runner(loop_factory=lambda: RandomLoop(Random(1))) as runner:  # noqa: S311
        assert 7200 == runner.run(wait())
