"""What a durable function declares, and what of it is refused at once."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from durable_agents.journal import CallableSpec, DurableOptions, durable, identify, is_async
from durable_agents.retry import RetryPolicy


def charge(card: str, amount: int = 1, *, memo: str = "") -> str:
    return f"{card}{amount}{memo}"


async def charge_async(card: str, amount: int = 1, *, memo: str = "") -> str:
    return charge(card, amount, memo=memo)


def described(reconciler: Callable[..., Any]) -> CallableSpec:
    return CallableSpec(charge, DurableOptions(reconciler=reconciler))


class Gateway:
    """A payment service that can be asked."""

    def look_up(self) -> str:
        return "receipt"

    async def __call__(self, card: str) -> str:
        return card


def test_a_declared_function_is_called_directly_as_before() -> None:
    """The decorator only says how it wants to be called."""
    declared = durable(name="charge")(charge)

    assert charge is declared
    assert "c1" == declared("c")


def test_options_of_one_call_go_before_the_declared_ones() -> None:
    """What is not given for the call stays as declared."""

    @durable(name="probe", timeout=5.0, limit="net", on_interrupt="fail")
    def probe() -> None: ...

    spec = identify(probe, (), {}, DurableOptions(timeout=1.0)).spec

    assert "probe" == spec.function_id
    expected = DurableOptions(name="probe", timeout=1.0, limit="net", on_interrupt="fail")
    assert expected == spec.options


def test_declared_options_are_found_without_options_of_the_call() -> None:
    """The common case takes the short road."""

    @durable(name="probe", retry=RetryPolicy(max_attempts=3))
    def probe() -> None: ...

    assert 3 == identify(probe, (), {}).spec.options.retry.max_attempts  # type: ignore[union-attr]  # it is declared


@pytest.mark.parametrize(
    ("options", "guarded", "direct"),
    [
        (DurableOptions(), False, True),
        (DurableOptions(name="n", key="k", on_interrupt="rerun"), False, True),
        (DurableOptions(on_interrupt="fail"), True, False),
        (DurableOptions(on_interrupt="ask"), True, False),
        (DurableOptions(reconciler=lambda: 1), True, False),
        (DurableOptions(timeout=1), False, False),
        (DurableOptions(limit="x"), False, False),
        (DurableOptions(retry=RetryPolicy()), False, False),
    ],
)
def test_what_must_not_repeat_is_guarded_and_what_asks_for_nothing_is_direct(
    options: DurableOptions, guarded: bool, direct: bool
) -> None:
    """A pending record costs a write, and is written only where something needs it."""
    assert guarded == options.is_guarded
    assert direct == CallableSpec(charge_async, options).is_direct
    assert not CallableSpec(charge, options).is_direct


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_is_a_positive_number_of_seconds(timeout: float) -> None:
    """Zero would fail every call, and NaN would never time out."""
    with pytest.raises(ValueError, match="expected seconds > 0 or None"):
        durable(timeout=timeout)


def test_on_interrupt_is_one_of_three_words() -> None:
    """A typing error must not mean `"rerun"`."""
    with pytest.raises(ValueError, match="'retry', expected 'rerun', 'fail' or 'ask'"):
        durable(on_interrupt="retry")  # type: ignore[arg-type]  # that is the test


@pytest.mark.rows("ID-11")
def test_no_reconciler_is_needed() -> None:
    """Most calls may simply run again."""
    spec = CallableSpec(durable(reconciler=None)(charge), DurableOptions())

    assert not spec.reconciler_takes_arguments


@pytest.mark.rows("ID-14")
def test_a_reconciler_must_be_callable() -> None:
    """The receipt itself is not a way to look it up."""
    with pytest.raises(TypeError, match="the reconciler must be callable, got str"):
        durable(reconciler="receipt")  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("fn", [Gateway().look_up, max], ids=["method", "builtin"])
def test_what_keeps_no_declaration_is_refused_with_the_remedy(fn: Callable[..., Any]) -> None:
    """A method belongs to all instances, a builtin to all programs."""
    with pytest.raises(TypeError, match=r"keeps no declaration; use ctx\.options"):
        durable(name="shared")(fn)


@pytest.mark.rows("ID-13")
@pytest.mark.parametrize(
    "reconciler",
    [
        lambda: 1,
        Gateway().look_up,
        lambda tries=3: tries,
        functools.partial(lambda card: card, "c"),
    ],
    ids=["nothing", "only self", "only defaults", "partial"],
)
def test_a_reconciler_may_take_nothing(reconciler: Callable[..., Any]) -> None:
    """It may know by itself what to ask for."""
    assert not described(reconciler).reconciler_takes_arguments


@pytest.mark.parametrize(
    "reconciler",
    [
        lambda card, amount, *, memo: (card, amount, memo),
        lambda *args, **kwargs: (args, kwargs),
        charge,
        max,
    ],
    ids=["the same", "anything", "itself", "hidden signature"],
)
def test_a_reconciler_may_take_the_arguments_of_the_call(
    reconciler: Callable[..., Any],
) -> None:
    """What it asks for is mostly about them."""
    assert described(reconciler).reconciler_takes_arguments


def test_a_reconciler_of_a_function_that_hides_its_signature_gets_its_arguments() -> None:
    """Nobody can tell beforehand that it does not fit."""
    options = DurableOptions(reconciler=lambda *numbers: numbers)

    assert CallableSpec(max, options).reconciler_takes_arguments


def test_a_reconciler_need_not_take_what_the_call_may_leave_out() -> None:
    """`*args` and `**kwargs` of the function are often empty."""

    def send(text: str, *copies: str, **headers: str) -> object:
        return text, copies, headers

    options = DurableOptions(reconciler=lambda text: text)

    assert CallableSpec(send, options).reconciler_takes_arguments


@pytest.mark.parametrize(
    "reconciler",
    [
        lambda card: card,
        lambda card, amount: (card, amount),
        lambda a, b, c, d, memo: (a, b, c, d, memo),
    ],
    ids=["one too few", "no keyword", "too many"],
)
def test_a_reconciler_that_cannot_be_called_is_refused_when_it_is_declared(
    reconciler: Callable[..., Any],
) -> None:
    """After a crash it would be too late."""
    with pytest.raises(TypeError, match="it must take no argument or the arguments of charge"):
        durable(reconciler=reconciler)(charge)


def test_a_reconciler_is_refused_for_a_callable_object_too() -> None:
    """The message must not fail for want of a name."""
    with pytest.raises(TypeError, match=r"or the arguments of <.*Gateway object"):
        durable(reconciler=lambda a, b: (a, b))(Gateway())


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (charge, False),
        (len, False),
        (Gateway(), True),
        (Gateway().look_up, False),
        (Gateway().__call__, True),
        (functools.partial(Gateway(), "c"), True),
    ],
)
def test_whether_a_callable_gives_a_coroutine_is_known_beforehand(
    fn: Callable[..., Any], expected: bool
) -> None:
    """It decides between the loop and a thread."""
    assert expected == is_async(fn)
