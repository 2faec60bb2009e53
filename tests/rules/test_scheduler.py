"""Order per key, one at a time, a bound on the whole, fairness, and nobody forgotten."""

from collections import Counter, defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from durable_agents.scheduler import MAX_KEPT_PER_KEY, Scheduler

pytestmark = pytest.mark.slow

keys = st.sampled_from(["a", "b", "c"])


class Scheduling(RuleBasedStateMachine):
    """A worker over a store that holds every run until it has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.accepted = 0
        self.stored: dict[str, list[int]] = defaultdict(list)
        self.kept: dict[str, list[int]] = defaultdict(list)
        self.running: dict[str, int] = {}
        self.held: set[str] = set()
        self.reads: dict[str, list[int]] = {}
        self.starts_while_ready: dict[str, Counter[str]] = {}

    @initialize(most=st.integers(1, 3))
    def start(self, most: int) -> None:
        self.most = most
        self.scheduler = Scheduler(most)

    @rule(key=keys, count=st.sampled_from([1, MAX_KEPT_PER_KEY + 2]))
    def accept(self, key: str, count: int) -> None:
        for _ in range(count):
            self.accepted += 1
            self.stored[key].append(self.accepted)
            if self.scheduler.offer(key, self.accepted):
                self.kept[key].append(self.accepted)
        self.see_who_is_ready()

    @rule()
    def start_next(self) -> None:
        following = self.scheduler.next_run()
        if following is None:
            assert len(self.running) == self.most or not self.ready()
            return
        key, number = following
        assert key not in self.running
        assert key not in self.held
        assert self.stored[key][0] == number
        assert self.kept[key].pop(0) == number
        self.running[key] = number
        self.starts_while_ready.pop(key, None)
        for starts in self.starts_while_ready.values():
            starts[key] += 1
            assert starts[key] <= 1

    @precondition(lambda self: self.running)
    @rule(data=st.data(), parks=st.sampled_from([False, False, False, True]))
    def end(self, data: st.DataObject, parks: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        if not parks:
            self.finish(key)
            return
        assert self.stored[key].pop(0) == self.running.pop(key)
        self.held.add(key)
        self.scheduler.hold(key)
        self.see_who_is_ready()

    def finish(self, key: str) -> None:
        assert self.stored[key].pop(0) == self.running.pop(key)
        self.scheduler.finish(key)
        self.see_who_is_ready()

    @rule()
    def finish_what_is_kept(self) -> None:
        """Everything that can run without another look at the store."""
        while self.running or self.scheduler.has_ready:
            self.start_next()
            for key in list(self.running):
                self.finish(key)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.held)))
        self.held.discard(key)
        self.scheduler.release(key)
        self.see_who_is_ready()

    @rule()
    def begin_to_read(self) -> None:
        """The store answers with what it holds now; the answer comes later."""
        for key, last in self.scheduler.hungry():
            assert key not in self.reads
            behind = [number for number in self.stored[key] if number > last]
            self.reads[key] = behind[:MAX_KEPT_PER_KEY]

    @precondition(lambda self: self.reads)
    @rule(data=st.data())
    def end_to_read(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.reads)))
        self.feed(key)

    def feed(self, key: str) -> None:
        numbers = self.reads.pop(key)
        self.kept[key] += numbers
        self.scheduler.feed(key, numbers, has_more=len(numbers) == MAX_KEPT_PER_KEY)
        self.see_who_is_ready()

    def ready(self) -> set[str]:
        return {k for k, n in self.kept.items() if n} - self.running.keys() - self.held

    def see_who_is_ready(self) -> None:
        for key in self.ready():
            self.starts_while_ready.setdefault(key, Counter())

    @invariant()
    def no_more_run_than_are_allowed(self) -> None:
        assert len(self.running) <= getattr(self, "most", 0)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert all(len(numbers) <= MAX_KEPT_PER_KEY for numbers in self.kept.values())
        if hasattr(self, "scheduler"):
            assert sum(map(len, self.kept.values())) == self.scheduler.waiting_count

    def teardown(self) -> None:
        """Every run that was accepted comes to its turn."""
        if not hasattr(self, "scheduler"):
            return
        for key in sorted(self.held):
            self.held.discard(key)
            self.scheduler.release(key)
        self.finish_what_is_kept()
        for _ in range(self.accepted):
            self.begin_to_read()
            for key in list(self.reads):
                self.feed(key)
            self.finish_what_is_kept()

        assert self.scheduler.is_drained
        assert not any(self.stored.values())
        assert 0 == self.scheduler.waiting_count


TestScheduling = Scheduling.TestCase
TestScheduling.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
