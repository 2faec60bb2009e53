"""Workers share a file as processes of their own; one of them is stopped, or killed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from durable_agents.journal import RunStatus
from tests.crash.evidence import read
from tests.crash.sharing import (
    CALLS,
    Part,
    Process,
    Result,
    began,
    in_flight,
    is_locked,
    pausing,
    start,
)
from tests.crash.witness import Sighting, sightings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

KEYS = [*"stuvwxyz"] * 2


def parts(folder: Path, lease_seconds: float) -> list[Part]:
    """Two workers with inputs of the same keys."""
    return [
        Part(
            folder=str(folder),
            number=number,
            runs=[(key, f"{key}-{number}-{i}") for i, key in enumerate(KEYS)],
            lease_seconds=lease_seconds,
        )
        for number in (1, 2)
    ]


@contextmanager
def running(part: Part) -> Iterator[Process]:
    process = start(part)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(0.002)


def is_caught(part: Part) -> bool:
    """Whether a process has a call in flight in one run, and is between calls in another."""
    seen = sightings(part.witness)
    return bool(in_flight(seen, part.number)) and bool(pausing(seen, part))


def stop_between_transactions(process: Process, part: Part) -> None:
    """Stop a process that is caught, see above, and has not the file locked."""
    while True:
        wait_until(partial(is_caught, part))
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        # The other one works on: what is locked now and then is not locked for good.
        is_stuck = all(is_locked(part.store) for _ in range(8))
        if not is_stuck and is_caught(part):
            return
        process.send_signal(signal.SIGCONT)


def unsettled(part: Part) -> set[tuple[str, str]]:
    """Calls that a process has begun and that are not on record."""
    seen = sightings(part.witness)
    return {s.call for s in seen if s.life == part.number} - set(read(part.store).settled)


def result_of(part: Part) -> Result:
    return msgspec.json.decode(part.result.read_bytes(), type=Result)


def numbers_in_order(seen: list[Sighting], key: str, accepted: dict[str, int]) -> list[int]:
    """Runs of a key by number, in the order in which they began."""
    order = began(seen, lambda s: s.run_id)
    return [accepted[str(run_id)] for run_id in order if str(run_id).startswith(f"{key}-")]


def assert_all_came_out(part: Part, seen: list[Sighting]) -> None:
    """Every run has completed, once, and those of a key in the order of acceptance."""
    record = read(part.store)
    assert {RunStatus.COMPLETED} == set(record.statuses.values())
    assert [] == record.settled_again
    for run_id in record.statuses:
        expected = [[f"{run_id}:{number}" for number in range(CALLS)]]
        assert expected == record.outputs_of(run_id)
    accepted = {run_id: number for number, run_id in enumerate(record.statuses)}
    for key in set(KEYS):
        order = numbers_in_order(seen, key, accepted)
        assert sorted(order) == order


def test_a_worker_that_is_stopped_past_its_lease_repeats_nothing_when_it_goes_on(
    tmp_path: Path,
) -> None:
    """Its runs are taken over and completed, its late writes are refused, and it works on."""
    first, second = parts(tmp_path, lease_seconds=2.0)
    with running(first) as stopped, running(second) as other:
        stop_between_transactions(stopped, first)
        in_doubt = unsettled(first)
        assert other.wait() == 0, second.said.read_text()
        went_on_at = time.monotonic()
        stopped.send_signal(signal.SIGCONT)
        assert stopped.wait() == 0, first.said.read_text()

    seen = sightings(first.witness)
    repeated = {call for call, count in began(seen, lambda s: s.call).items() if count > 1}
    assert repeated
    assert repeated <= in_doubt
    late = [s for s in seen if s.phase == "begin" and s.at >= went_on_at]
    assert {"afterwards-1"} == {s.run_id for s in late}
    own = {run_id for _, run_id in first.runs}
    assert {run_id for run_id, _ in in_doubt} & own <= set(result_of(first).lost)
    assert_all_came_out(first, seen)


def test_the_runs_of_a_worker_that_is_killed_are_taken_over_at_once(tmp_path: Path) -> None:
    """Nobody waits for its lease to end: its lock says that it is dead."""
    first, second = parts(tmp_path, lease_seconds=3600.0)
    with running(first) as killed, running(second) as other:
        wait_until(partial(is_caught, first))
        killed.kill()
        killed.wait()
        in_doubt = unsettled(first)
        assert other.wait() == 0, second.said.read_text()

    seen = sightings(first.witness)
    repeated = {call for call, count in began(seen, lambda s: s.call).items() if count > 1}
    assert repeated <= in_doubt
    assert_all_came_out(second, seen)
