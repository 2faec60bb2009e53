"""A process is killed after every journal entry in turn; what it leaves is carried to its end.

Each scenario runs once for each entry that it writes: a process that dies right after the entry
has become durable, then another one that is left alone. The regular suite tries every entry of
every scenario once on each loop; `-m crash` does so with other latencies and shared commits.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, count
from pathlib import Path

import msgspec
import pytest

from tests.conftest import LOOPS
from tests.crash.child import Life
from tests.crash.lives import Lives
from tests.crash.nursery import Nursery
from tests.crash.scenarios import SCENARIOS

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS)
every_loop = pytest.mark.parametrize("loop", LOOPS)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MOST_LIVES = 100


@pytest.fixture(scope="module")
def nurseries() -> Iterator[Sequence[Nursery]]:
    """Two of them, so that a process and its successor differ in their hashes."""
    with Nursery(1) as one, Nursery(2) as other:
        yield [one, other]


def killed_after_every_entry(before: Life, nurseries: Sequence[Nursery]) -> list[str]:
    """Breaches that were found; there is a kill for each entry that a run writes."""

    def killed_after(entry: int) -> tuple[bool, list[str]]:
        folder = str(Path(before.folder, str(entry)))
        lives = Lives(msgspec.structs.replace(before, folder=folder), nurseries)
        was_killed = lives.live(after=entry)
        if was_killed:
            lives.live(after=None)
        return was_killed, [f"killed after entry {entry}: {b}" for b in lives.breaches]

    breaches: list[str] = []
    # Two at a time: there are two nurseries, and more would wait.
    with ThreadPoolExecutor(2) as pool:
        pairs = (pool.map(killed_after, [entry, entry + 1]) for entry in count(1, 2))
        for was_killed, found in chain.from_iterable(pairs):
            breaches += found
            if not was_killed:
                break
    return breaches


def killed_at_each_step(before: Life, nurseries: Sequence[Nursery]) -> list[str]:
    """Breaches that were found; each process dies after one entry of its own."""
    lives = Lives(before, nurseries)
    # The first one writes the input and one more, later ones that they took over and one more.
    for _ in range(MOST_LIVES):
        if not lives.live(after=2):
            return lives.breaches
    return [*lives.breaches, f"not done after {MOST_LIVES} lives"]


@pytest.mark.rows("GAP-23")
@every_loop
@every_scenario
def test_a_kill_after_any_entry_changes_no_decision(
    scenario: str, loop: str, nurseries: Sequence[Nursery], tmp_path: Path
) -> None:
    """The main promise: no settled call is repeated, no result swapped, no race run anew."""
    before = Life(scenario=scenario, folder=str(tmp_path), loop=loop)

    breaches = killed_after_every_entry(before, nurseries)

    assert [] == breaches


@every_loop
@every_scenario
def test_a_kill_after_each_entry_of_each_process_changes_no_decision(
    scenario: str, loop: str, nurseries: Sequence[Nursery], tmp_path: Path
) -> None:
    """A replay of a replay of a replay is one; each makes one step and dies."""
    before = Life(scenario=scenario, folder=str(tmp_path / "store"), loop=loop)

    breaches = killed_at_each_step(before, nurseries)

    assert [] == breaches


@pytest.mark.crash
@pytest.mark.parametrize("one_by_one", [True, False], ids=["alone", "grouped"])
@every_loop
@every_scenario
def test_kills_after_any_entry_change_no_decision_whatever_the_latencies(
    scenario: str,
    loop: str,
    one_by_one: bool,
    nurseries: Sequence[Nursery],
    tmp_path: Path,
) -> None:
    """The same again, with writes in transactions of their own and in shared ones."""
    before = Life(
        scenario=scenario,
        folder=str(tmp_path),
        number=MOST_LIVES,
        loop=loop,
        one_by_one=one_by_one,
    )

    breaches = killed_after_every_entry(before, nurseries)

    assert [] == breaches
