"""Who may start next, case by case; `tests/rules/test_scheduler.py` walks the rest."""

import pytest

from durable_agents.scheduler import MAX_KEPT_PER_KEY, Scheduler


def offered(*runs: tuple[str, int], most: int = 10) -> Scheduler:
    scheduler = Scheduler(most)
    for key, number in runs:
        assert scheduler.offer(key, number)
    return scheduler


def started(scheduler: Scheduler) -> list[tuple[str, int]]:
    """All that may start now."""
    found = []
    while (following := scheduler.next_run()) is not None:
        found.append(following)
    return found


def full_line(most: int = 10) -> Scheduler:
    """A key of which as many runs wait as are kept, and one more is in the store."""
    scheduler = offered(*(("a", n) for n in range(1, MAX_KEPT_PER_KEY + 1)), most=most)
    assert not scheduler.offer("a", MAX_KEPT_PER_KEY + 1)
    return scheduler


def starve(scheduler: Scheduler) -> None:
    """Let every run of the line run, one after the other."""
    for number in range(1, MAX_KEPT_PER_KEY + 1):
        assert ("a", number) == scheduler.next_run()
        scheduler.finish("a")


@pytest.mark.rows("OP-02", "OP-03")
def test_runs_of_one_key_start_one_at_a_time_in_order() -> None:
    """The next one waits for the end of the one before."""
    scheduler = offered(("a", 1), ("a", 2))

    assert [("a", 1)] == started(scheduler)
    scheduler.finish("a")
    assert [("a", 2)] == started(scheduler)


def test_runs_of_different_keys_start_at_once() -> None:
    """Keys do not wait for each other."""
    assert [("a", 1), ("b", 2)] == started(offered(("a", 1), ("b", 2)))


def test_no_more_runs_start_than_are_allowed() -> None:
    """Over all keys."""
    scheduler = offered(("a", 1), ("b", 2), ("c", 3), most=2)

    assert [("a", 1), ("b", 2)] == started(scheduler)
    assert not scheduler.has_ready
    scheduler.finish("b")
    assert scheduler.has_ready
    assert [("c", 3)] == started(scheduler)


def test_a_busy_key_delays_the_others_by_one_run_at_most() -> None:
    """A key whose run has ended goes to the end of the line."""
    scheduler = offered(("a", 1), ("a", 2), ("a", 3), ("b", 4), most=1)

    assert ("a", 1) == scheduler.next_run()
    scheduler.finish("a")
    assert ("b", 4) == scheduler.next_run()
    scheduler.finish("b")
    assert ("a", 2) == scheduler.next_run()


def test_a_run_that_is_parked_gives_its_place_up_and_keeps_its_key() -> None:
    """Later runs of the key must not overtake it; other keys may use the place."""
    scheduler = offered(("a", 1), ("a", 2), ("b", 3), most=1)
    scheduler.next_run()

    scheduler.hold("a")
    assert [("b", 3)] == started(scheduler)
    scheduler.finish("b")
    assert scheduler.is_drained
    assert 1 == scheduler.waiting_count

    scheduler.release("a")
    assert [("a", 2)] == started(scheduler)


def test_a_key_may_come_from_the_store_with_a_parked_run() -> None:
    """What was parked by an earlier worker holds its key here, too."""
    scheduler = Scheduler(1)
    scheduler.hold_from_start("a")

    assert scheduler.offer("a", 2)
    assert scheduler.next_run() is None
    assert scheduler.is_drained

    scheduler.release("a")
    assert ("a", 2) == scheduler.next_run()


def test_an_earlier_run_of_a_held_key_waits_too() -> None:
    """It was put back to work while a later one is parked."""
    scheduler = offered(("a", 1))

    scheduler.hold_from_start("a")

    assert scheduler.next_run() is None
    scheduler.release("a")
    assert ("a", 1) == scheduler.next_run()


def test_only_a_key_that_has_started_can_end() -> None:
    """A place that was never taken must not be given back."""
    with pytest.raises(AssertionError, match="only a key whose run has started"):
        offered(("a", 1)).finish("a")


def test_of_one_key_only_the_next_few_runs_are_kept() -> None:
    """A million inputs of one key wait in the store, not in memory."""
    scheduler = full_line()

    assert not scheduler.offer("a", MAX_KEPT_PER_KEY + 2)
    assert MAX_KEPT_PER_KEY == scheduler.waiting_count
    assert [] == scheduler.hungry()
    assert scheduler.offer("b", MAX_KEPT_PER_KEY + 3)


def test_a_key_whose_runs_in_memory_have_ended_asks_for_more() -> None:
    """Once, and with the last number that it knows."""
    scheduler = full_line()
    starve(scheduler)

    assert not scheduler.is_drained
    assert [("a", MAX_KEPT_PER_KEY)] == scheduler.hungry()
    assert [] == scheduler.hungry()
    assert not scheduler.is_drained

    scheduler.feed("a", [MAX_KEPT_PER_KEY + 1], has_more=False)
    assert [("a", MAX_KEPT_PER_KEY + 1)] == started(scheduler)
    scheduler.finish("a")
    assert scheduler.is_drained


def test_a_run_that_was_accepted_while_the_store_was_read_is_not_lost() -> None:
    """The read began before it was there, so its answer says that there is no more."""
    scheduler = full_line()
    starve(scheduler)
    scheduler.hungry()

    assert not scheduler.offer("a", 1000)
    scheduler.feed("a", [MAX_KEPT_PER_KEY + 1], has_more=False)
    assert [("a", MAX_KEPT_PER_KEY + 1)] == started(scheduler)
    scheduler.finish("a")

    assert [("a", MAX_KEPT_PER_KEY + 1)] == scheduler.hungry()
    scheduler.feed("a", [1000], has_more=False)
    assert [("a", 1000)] == started(scheduler)
    scheduler.finish("a")
    assert scheduler.is_drained


def test_a_key_that_is_fed_nothing_is_done() -> None:
    """What waited in the store was ended there."""
    scheduler = full_line()
    starve(scheduler)
    scheduler.hungry()

    scheduler.feed("a", [], has_more=False)

    assert scheduler.is_drained
    assert scheduler.offer("a", 1000)


def test_a_key_that_is_fed_nothing_asks_again_where_there_may_be_more() -> None:
    """It was accepted while the store was being read."""
    scheduler = full_line()
    starve(scheduler)
    scheduler.hungry()

    assert not scheduler.offer("a", 1000)
    scheduler.feed("a", [], has_more=False)

    assert [("a", MAX_KEPT_PER_KEY)] == scheduler.hungry()


def test_what_is_fed_is_followed_by_what_is_still_in_the_store() -> None:
    """Runs that are offered meanwhile stay behind them."""
    scheduler = full_line()
    starve(scheduler)
    scheduler.hungry()

    scheduler.feed("a", [100, 101], has_more=True)

    assert not scheduler.offer("a", 103)
    for number in (100, 101):
        assert ("a", number) == scheduler.next_run()
        scheduler.finish("a")
    assert [("a", 101)] == scheduler.hungry()


def test_no_run_of_a_paused_key_starts() -> None:
    """The one that runs goes on, other keys do; then it takes its turn again."""
    scheduler = offered(("a", 1), ("a", 2), ("b", 3), most=1)
    assert ("a", 1) == scheduler.next_run()
    scheduler.pause("a")
    scheduler.finish("a")

    assert [("b", 3)] == started(scheduler)
    scheduler.finish("b")
    assert [] == started(scheduler)
    assert scheduler.is_drained
    scheduler.offer("a", 4)
    scheduler.unpause("a")
    assert not scheduler.is_drained
    assert [("a", 2)] == started(scheduler)
    scheduler.finish("a")
    assert [("a", 4)] == started(scheduler)


def test_a_key_that_is_paused_and_resumed_before_its_turn_keeps_its_place() -> None:
    """Nothing was put aside."""
    scheduler = offered(("a", 1), ("b", 2))
    scheduler.pause("a")
    scheduler.unpause("a")

    assert [("a", 1), ("b", 2)] == started(scheduler)


def test_no_run_starts_at_all_while_everything_is_paused() -> None:
    """Then those start that are not paused themselves, in their order."""
    scheduler = offered(("a", 1), ("b", 2), ("c", 3))
    assert ("a", 1) == scheduler.next_run()
    scheduler.pause(None)
    scheduler.pause("b")

    assert [] == started(scheduler)
    assert not scheduler.is_drained
    scheduler.finish("a")
    assert scheduler.is_drained
    assert not scheduler.has_ready
    scheduler.unpause(None)
    assert [("c", 3)] == started(scheduler)
    scheduler.unpause("b")
    assert [("b", 2)] == started(scheduler)


def away(*, is_ordered: bool, most: int = 1) -> Scheduler:
    """A scheduler whose run 1, of key "a", has left memory."""
    scheduler = offered(("a", 1), most=most)
    scheduler.next_run()
    scheduler.rest("a")
    scheduler.leave("a", is_ordered=is_ordered)
    return scheduler


@pytest.mark.parametrize("is_ordered", [True, False])
def test_a_run_that_is_away_takes_no_place_and_is_not_done(*, is_ordered: bool) -> None:
    """Another one runs meanwhile; nobody is told that all is done."""
    scheduler = away(is_ordered=is_ordered)

    scheduler.offer("b", 2)
    assert [("b", 2)] == started(scheduler)
    scheduler.finish("b")
    assert not scheduler.is_drained
    assert scheduler.come_back("a", 1, at_once=True)
    scheduler.finish("a")
    assert scheduler.is_drained


def test_a_run_that_is_away_keeps_its_key_if_it_is_ordered() -> None:
    """Where it has none, nobody is ordered with it, and nothing is kept of it."""
    keeps, goes = away(is_ordered=True), away(is_ordered=False)

    for scheduler in (keeps, goes):
        scheduler.offer("a", 2)
    assert [] == started(keeps)
    assert [("a", 2)] == started(goes)


def test_who_is_called_back_has_a_place_over_the_bound() -> None:
    """As one that rested in memory has; who comes next waits until both have ended."""
    scheduler = away(is_ordered=True)
    scheduler.offer("b", 2)
    started(scheduler)

    assert scheduler.come_back("a", 1, at_once=True)
    scheduler.offer("c", 3)
    scheduler.finish("b")
    assert [] == started(scheduler)
    scheduler.finish("a")
    assert [("c", 3)] == started(scheduler)


def test_who_is_due_takes_the_next_place_before_those_who_are_new() -> None:
    """It was there before them."""
    scheduler = away(is_ordered=True)
    scheduler.offer("b", 2)
    scheduler.offer("c", 3)
    assert ("b", 2) == scheduler.next_run()

    assert not scheduler.come_back("a", 1, at_once=False)
    scheduler.offer("a", 4)
    scheduler.finish("b")
    assert [("a", 1)] == started(scheduler)
    scheduler.finish("a")
    assert ("c", 3) == scheduler.next_run()
    scheduler.finish("c")
    assert [("a", 4)] == started(scheduler)


@pytest.mark.parametrize("paused", ["a", None])
def test_who_is_paused_comes_back_after_the_pause(paused: str | None) -> None:
    """Of its key, or of all."""
    scheduler = away(is_ordered=True)
    scheduler.pause(paused)

    assert not scheduler.come_back("a", 1, at_once=True)
    assert [] == started(scheduler)
    scheduler.unpause(paused)
    assert [("a", 1)] == started(scheduler)


def test_a_run_without_a_key_comes_back_behind_one_that_has_taken_its_name() -> None:
    """Two runs on one line would end one another's turn."""
    scheduler = away(is_ordered=False, most=2)
    scheduler.offer("a", 2)
    assert [("a", 2)] == started(scheduler)

    assert not scheduler.come_back("a", 1, at_once=True)
    assert [] == started(scheduler)
    scheduler.finish("a")
    assert [("a", 1)] == started(scheduler)
    scheduler.finish("a")
    assert scheduler.is_drained


def test_what_waits_in_the_store_from_the_start_keeps_its_key_and_is_not_done() -> None:
    """Of those that have one; the others are counted."""
    scheduler = Scheduler(1)
    scheduler.away_from_start(2)
    scheduler.keep_from_start("a")
    scheduler.offer("a", 3)

    assert [] == started(scheduler)
    assert not scheduler.is_drained
    assert scheduler.come_back("a", 1, at_once=True)
    scheduler.finish("a")
    assert [("a", 3)] == started(scheduler)
    scheduler.finish("a")
    assert not scheduler.is_drained
    assert scheduler.come_back("nobody", 2, at_once=True)
    scheduler.finish("nobody")
    assert scheduler.is_drained


def test_a_line_that_is_read_on_goes_on_behind_one_that_came_back() -> None:
    """Its number is an old one, and says nothing of how far the line was read."""
    scheduler = away(is_ordered=False)
    scheduler.offer("a", 2)
    assert ("a", 2) == scheduler.next_run()
    for number in range(3, MAX_KEPT_PER_KEY + 4):
        scheduler.offer("a", number)
    scheduler.finish("a")
    for number in range(3, MAX_KEPT_PER_KEY + 3):
        assert ("a", number) == scheduler.next_run()
        scheduler.finish("a")

    assert [("a", MAX_KEPT_PER_KEY + 2)] == scheduler.hungry()
    assert not scheduler.come_back("a", 1, at_once=True)
    scheduler.feed("a", [], has_more=True)
    assert [("a", 1)] == started(scheduler)
    scheduler.finish("a")
    assert [("a", MAX_KEPT_PER_KEY + 2)] == scheduler.hungry()
