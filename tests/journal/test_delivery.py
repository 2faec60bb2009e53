"""In which order outcomes are handed over, rule by rule of `DeliveryOrder`."""

import pytest

from durable_agents.journal import CallKey, DeliveryOrder

A, B, C, D = (("", position) for position in range(4))


def asked(order: DeliveryOrder, *keys: CallKey) -> DeliveryOrder:
    for key in keys:
        order.ask_recorded(key)
    return order


def test_outcomes_of_one_transaction_are_handed_over_together() -> None:
    """Rule 1: in the order in which the calls settled."""
    order = DeliveryOrder()
    for key in (A, B, C):
        order.ask(key)

    order.commit(B, 7)
    order.commit(A, 7)
    order.commit(C, 8)

    assert [B, A] == order.take()
    assert [C] == order.take()
    assert order.is_empty


def test_what_is_not_durable_is_not_handed_over() -> None:
    """Asking alone gives nothing."""
    order = DeliveryOrder()

    order.ask(A)

    assert not order.is_ready
    assert [] == order.take()


def test_batches_are_handed_over_in_the_order_of_their_transactions() -> None:
    """Rule 2: the later one waits although it was asked for first."""
    order = DeliveryOrder([[A], [B]])

    asked(order, B)
    assert not order.is_ready
    asked(order, A)

    assert [A] == order.take()
    assert [B] == order.take()


def test_a_recorded_batch_waits_until_all_of_it_has_been_asked_for() -> None:
    """Rule 3: they came together, and so they must again."""
    order = asked(DeliveryOrder([[A, B]]), A)
    assert not order.is_ready

    asked(order, B)

    assert order.is_ready
    assert [A, B] == order.take()


def test_new_outcomes_come_after_the_recorded_ones() -> None:
    """A replayed race must not be won by a call that is new."""
    order = asked(DeliveryOrder([[A]]))
    order.ask(B)
    order.commit(B, 7)
    assert not order.is_ready

    asked(order, A)

    assert [[A], [B]] == [order.take(), order.take()]


@pytest.mark.parametrize("key", [A, B])
def test_an_outcome_that_nobody_waits_for_any_more_is_never_handed_over(key: CallKey) -> None:
    """Its waiter was cancelled; the others of its batch are not kept waiting for it."""
    order = asked(DeliveryOrder([[A, B], [C]]), A, B, C)

    order.withdraw(key)

    assert [[B] if key == A else [A], [C]] == [order.take(), order.take()]


def test_a_batch_of_which_everything_was_withdrawn_is_gone() -> None:
    """Wherever it stood."""
    order = asked(DeliveryOrder([[A], [B], [C]]), A, B, C)

    order.withdraw(B)
    order.withdraw(A)

    assert [C] == order.take()
    assert order.is_empty


def test_an_outcome_that_comes_in_after_a_withdrawn_one_of_its_transaction_is_kept() -> None:
    """Whether or not its batch is still there."""
    order = asked(DeliveryOrder([[C]]), A, B)
    order.commit(A, 7)
    order.withdraw(A)
    order.commit(B, 7)

    asked(order, C)

    assert [[C], [B]] == [order.take(), order.take()]


def test_withdrawing_what_is_not_there_changes_nothing() -> None:
    """A call may be given up before its outcome is durable."""
    order = DeliveryOrder()
    order.ask(A)

    order.withdraw(A)

    assert order.is_empty


def test_an_outcome_that_is_asked_for_may_overtake_one_that_is_not() -> None:
    """Rule 5: the first in order that can be handed over, and the one it leaves behind."""
    order = asked(DeliveryOrder([[A, B], [C], [D]]), C, D)

    assert ([C], A) == order.overtake()
    assert [D] == order.take()
    assert order.is_empty


def test_what_was_overtaken_is_handed_over_when_it_is_asked_for() -> None:
    """And nothing waits for it a second time."""
    order = asked(DeliveryOrder([[A, B], [C]]), C)
    order.overtake()

    asked(order, B)
    assert [B] == order.take()
    asked(order, A)
    assert [A] == order.take()
    assert order.is_empty


def test_a_new_outcome_is_no_part_of_one_that_was_overtaken() -> None:
    """Each is a batch of its own, though the transaction goes on."""
    order = asked(DeliveryOrder([[A], [B]]), B)
    order.overtake()
    order.ask(C)
    order.ask(D)
    order.commit(C, 7)
    asked(order, A)
    order.commit(D, 7)

    assert [[C], [A], [D]] == [order.take(), order.take(), order.take()]


def test_part_of_a_batch_may_overtake_the_rest() -> None:
    """What is missing may never be asked for."""
    order = asked(DeliveryOrder([[A, B]]), B)

    assert ([B], A) == order.overtake()


def test_nothing_is_overtaken_where_everything_has_been_asked_for() -> None:
    """The next batch is ready, or there is none."""
    assert asked(DeliveryOrder([[A]]), A).overtake() is None
    assert DeliveryOrder().overtake() is None


def test_after_a_clear_outcomes_are_handed_over_as_they_are_asked_for() -> None:
    """The code no longer repeats the recorded order."""
    order = asked(DeliveryOrder([[A, B], [C, D]]), D, B)

    order.release()
    asked(order, C)

    assert [[B], [D], [C]] == [order.take(), order.take(), order.take()]
    assert order.is_empty


def test_after_a_clear_new_outcomes_are_handed_over_too() -> None:
    """In the batches of their transactions."""
    order = DeliveryOrder([[A]])
    order.release()
    order.ask(B)
    order.ask(C)
    order.commit(B, 7)
    order.commit(C, 7)

    assert [B, C] == order.take()
