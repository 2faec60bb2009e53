"""Ids of promises: one text for each promise, the same for ever, and nothing else is one."""

import re

import pytest

from durable_agents.errors import InputError
from durable_agents.journal import is_promise, promise_id, promise_name, promise_of

CALL = "0:charge:root:2"
WHOLE = promise_id("order-7", CALL)


@pytest.mark.parametrize("run_id", ["order-7", "a b/c?d=e", "Straße 7", "", "x" * 999, "\x00"])
@pytest.mark.parametrize("call", [CALL, "12:pay:root/0.one.1/2.x.0:3"])
def test_an_id_names_its_run_and_its_place(run_id: str, call: str) -> None:
    """Whatever the caller's id of the run."""
    assert (run_id, call) == promise_of(promise_id(run_id, call))


def test_an_id_can_stand_in_a_url() -> None:
    """As a part of a path or of a query, without being escaped."""
    for number in range(100):
        assert re.fullmatch(r"promise-a-[A-Za-z0-9_-]+", promise_id(f"r{number}>?", CALL))


def test_ids_are_handed_out_and_never_change() -> None:
    """Somebody has them, and comes years later."""
    assert "promise-a-UiatinVAkqdvcmRlci03rzA6Y2hhcmdlOnJvb3Q6Mg" == WHOLE


@pytest.mark.parametrize(
    "text",
    [
        "order-7",
        "promise-a-Straße",
        "promise-a-AAAAAAAAAAAA",
        WHOLE.removeprefix("promise-a-"),
        WHOLE.replace("promise-a-", "promise-b-"),
        f" {WHOLE}",
        f"{WHOLE}\n",
        f"{WHOLE}==",
        f"{WHOLE}A",
        WHOLE.upper(),
    ],
)
def test_what_is_near_an_id_is_none(text: str) -> None:
    """It was mistyped, or is something else."""
    with pytest.raises(InputError, match=r"is no id of a promise: hand on what `promise\.id`"):
        promise_of(text)


def test_an_id_is_refused_where_any_part_of_it_is_missing_or_another() -> None:
    """It was cut on its way, or somebody makes ids up."""
    for place, letter in enumerate(WHOLE):
        other = "B" if letter == "A" else "A"
        for text in (WHOLE[:place], WHOLE[:place] + other + WHOLE[place + 1 :]):
            with pytest.raises(InputError):
                promise_of(text)


def test_a_long_text_is_shown_in_part() -> None:
    """Somebody may have sent a whole page."""
    with pytest.raises(InputError) as caught:
        promise_of("x" * 10_000)

    assert len(str(caught.value)) < 200


def test_signals_of_promises_are_told_from_others() -> None:
    """By their names."""
    assert is_promise(promise_name(CALL))
    assert not is_promise("promise")
