"""Each outcome is handed over once, in order, and never before it was asked for."""

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

from durable_agents.journal import CallKey, DeliveryOrder

pytestmark = pytest.mark.slow

recorded_batches = st.lists(st.integers(1, 3), max_size=4)


class Deliveries(RuleBasedStateMachine):
    """An action that asks for recorded outcomes and makes new calls, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = iter(range(10_000))
        self.asked: set[CallKey] = set()
        self.durable: set[CallKey] = set()
        self.withdrawn: set[CallKey] = set()
        self.delivered: list[CallKey] = []
        self.in_flight: list[CallKey] = []
        self.batches: dict[CallKey, int] = {}
        self.transaction = 0

    def key(self) -> CallKey:
        return ("", next(self.numbers))

    @initialize(sizes=recorded_batches)
    def start(self, sizes: list[int]) -> None:
        recorded = [[self.key() for _ in range(size)] for size in sizes]
        self.order = DeliveryOrder(recorded)
        self.unasked = [key for batch in recorded for key in batch]
        self.expected = list(self.unasked)
        self.durable.update(self.unasked)
        self.batches = {key: -len(recorded) + i for i, b in enumerate(recorded) for key in b}

    @precondition(lambda self: self.unasked)
    @rule(data=st.data())
    def ask_for_a_recorded_outcome(self, data: st.DataObject) -> None:
        self.ask(data.draw(st.sampled_from(self.unasked)))

    def ask(self, key: CallKey) -> None:
        self.unasked.remove(key)
        self.asked.add(key)
        if key not in self.expected:  # it was overtaken: a batch of its own, the last one
            self.expected.append(key)
            self.transaction += 1
            self.batches[key] = self.transaction
            self.transaction += 1
        self.order.ask_recorded(key)

    @rule()
    def make_a_new_call(self) -> None:
        key = self.key()
        self.in_flight.append(key)
        self.asked.add(key)
        self.order.ask(key)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), is_new=st.booleans())
    def commit(self, data: st.DataObject, is_new: bool) -> None:
        key = data.draw(st.sampled_from(self.in_flight))
        self.in_flight.remove(key)
        self.transaction += is_new or not self.transaction
        self.batches[key] = self.transaction
        self.durable.add(key)
        self.expected.append(key)
        self.order.commit(key, self.transaction)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.asked)))
        self.asked.discard(key)
        self.withdrawn.add(key)
        if key in self.in_flight:
            self.in_flight.remove(key)
        if key in self.expected:
            self.expected.remove(key)
        self.order.withdraw(key)

    @rule()
    def take(self) -> None:
        batch = self.order.take()
        assert len({self.batches[key] for key in batch}) <= 1
        assert self.expected[: len(batch)] == batch
        del self.expected[: len(batch)]
        if batch and self.expected:
            assert self.batches[batch[0]] != self.batches[self.expected[0]]
        self.hand_over(batch)

    @precondition(lambda self: not self.order.is_ready)
    @rule()
    def lose_patience(self) -> None:
        overtaking = self.order.overtake()
        waiting = [key for key in self.expected if key in self.asked]
        if overtaking is None:
            assert [] == waiting
            return
        batch, blocked = overtaking
        assert waiting[: len(batch)] == batch
        assert blocked not in self.asked
        number = self.batches[batch[0]]
        self.expected = [key for key in self.expected if self.batches[key] > number]
        self.hand_over(batch)

    def hand_over(self, batch: list[CallKey]) -> None:
        for key in batch:
            assert key in self.asked
            assert key in self.durable
            assert key not in self.withdrawn
            self.asked.discard(key)
        self.delivered += batch

    @invariant()
    def nothing_is_handed_over_twice(self) -> None:
        assert len(self.delivered) == len(set(self.delivered))

    def teardown(self) -> None:
        """When everything has been asked for, everything is handed over."""
        if not hasattr(self, "order"):
            return
        for key in list(self.unasked):
            self.ask(key)
        for _ in range(len(self.expected)):
            self.take()

        assert [] == self.expected
        assert self.order.is_empty


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
