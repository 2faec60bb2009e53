"""What a call is known by, and that nothing about a process changes it."""

import functools
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import pytest

from durable_agents.errors import EncodeError, UnsupportedCallableError
from durable_agents.journal import DurableOptions, identify


def transfer(source: str, target: str, amount: int = 0, *, currency: str = "EUR") -> str:
    return f"{source}{target}{amount}{currency}"


def collect(first: object, *rest: object, **named: object) -> object:
    return first, rest, named


@dataclass
class Shop:
    """An instance that is plain data."""

    city: str

    def charge(self, amount: int) -> int:
        return amount

    @staticmethod
    def round(amount: int) -> int:
        return amount

    @classmethod
    def open(cls, city: str) -> "Shop":
        return cls(city)


class Session:
    """An instance that is none: it holds a lock."""

    def __init__(self) -> None:
        self.lock = Lock()

    def send(self, text: str) -> str:
        return text


@dataclass
class Greet:
    """A callable object that is plain data."""

    greeting: str

    def __call__(self, name: str) -> str:
        return f"{self.greeting}, {name}"


def function_id(fn: Callable[..., Any], *args: object, name: str | None = None) -> str:
    return identify(fn, args, {}, DurableOptions(name=name)).spec.function_id


def digest(fn: Callable[..., Any], *args: object, **kwargs: object) -> bytes:
    return identify(fn, args, kwargs).digest


@pytest.mark.rows("ID-01")
def test_a_function_is_known_by_its_module_and_qualified_name() -> None:
    """The id is on disk, so it must name the function in every process."""
    assert f"{__name__}:transfer" == function_id(transfer, "a", "b")


@pytest.mark.rows("ID-03", "ID-04", "ID-05")
def test_methods_of_every_kind_are_known_by_their_class() -> None:
    """Bound, static and class methods alike."""
    assert f"{__name__}:Shop.charge" == function_id(Shop("Oslo").charge, 1)
    assert f"{__name__}:Shop.round" == function_id(Shop.round, 1)
    assert f"{__name__}:Shop.open" == function_id(Shop.open, "Oslo")


def test_a_class_is_called_under_its_own_name() -> None:
    """A class is a function that makes instances."""
    assert f"{__name__}:Shop" == function_id(Shop, "Oslo")


def test_builtin_functions_have_the_name_of_their_module() -> None:
    """They carry a module where they are not bound to an object."""
    assert "builtins:len" == function_id(len, "abc")
    assert "math:sqrt" == function_id(math.sqrt, 4)


def test_a_wrapped_function_keeps_its_name() -> None:
    """`functools.lru_cache` gives an object that is no function and has the name of one."""
    cached = functools.lru_cache(transfer)

    assert f"{__name__}:transfer" == function_id(cached, "a", "b")
    assert digest(transfer, "a", "b") == digest(cached, "a", "b")


@pytest.mark.rows("ID-02")
def test_the_id_of_a_lambda_says_that_it_is_one_and_hashes_its_code() -> None:
    """The place alone would not tell it from the next lambda of the same scope."""
    found = function_id(lambda: 1)

    name, _, code = found.partition("#")
    assert name.endswith(".<locals>.<lambda>")
    assert 12 == len(code)


@pytest.mark.rows("GAP-07")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: 1, lambda: 2),
        (lambda: max(1, 23), lambda: max(12, 3)),
        (lambda: lambda: 1, lambda: lambda: 2),
        (lambda: len, lambda: sum),
        (lambda x: x in {1, 2}, lambda x: x in {1, 3}),
        (lambda: "a", lambda: b"a"),
    ],
    ids=["constants", "joints", "nested code", "names", "frozen sets", "types"],
)
def test_lambdas_that_do_different_things_have_different_ids(
    one: Callable[..., Any], other: Callable[..., Any]
) -> None:
    """The second must not be given the value of the first."""
    arguments = (0,) * one.__code__.co_argcount

    assert function_id(one, *arguments) != function_id(other, *arguments)


def test_a_lambda_has_the_same_id_each_time_it_is_made() -> None:
    """A replay makes a new function object from the same code."""
    first, second = ((lambda n: n + 1) for _ in range(2))

    assert function_id(first, 1) == function_id(second, 1)


@pytest.mark.rows("GAP-35")
def test_a_partial_is_the_same_call_as_its_function_with_all_arguments() -> None:
    """Arguments given earlier count like those given now; later keywords win."""
    inner = functools.partial(transfer, "a", currency="NOK")
    outer = functools.partial(inner, "b", currency="SEK")

    identity = identify(outer, (5,), {})

    assert f"{__name__}:transfer" == identity.spec.function_id
    assert digest(transfer, "a", "b", 5, currency="SEK") == identity.digest
    assert ("a", "b", 5) == identity.args
    assert {"currency": "SEK"} == identity.kwargs


@pytest.mark.rows("GAP-34")
def test_an_instance_that_is_plain_data_takes_part_in_the_digest() -> None:
    """Two shops charge two different accounts."""
    assert digest(Shop("Oslo").charge, 1) == digest(Shop("Oslo").charge, 1)
    assert digest(Shop("Oslo").charge, 1) != digest(Shop("Rome").charge, 1)
    assert digest([1].count, 1) != digest([2].count, 1)


@pytest.mark.rows("GAP-35")
def test_a_callable_object_counts_as_its_class_and_its_state() -> None:
    """Its class alone would give all of them the result of the first."""
    assert f"{__name__}:Greet" == function_id(Greet("Hello"), "Ann")
    assert digest(Greet("Hello"), "Ann") != digest(Greet("Bye"), "Ann")


@pytest.mark.rows("GAP-34", "GAP-35")
def test_an_instance_that_is_no_data_is_refused_with_the_remedy() -> None:
    """It has no form that another process could compare."""
    with pytest.raises(EncodeError, match=r"Session\.send.*ctx\.options\(name=\.\.\.\)"):
        identify(Session().send, ("hi",), {})


@pytest.mark.parametrize("options", [DurableOptions(name="send"), DurableOptions(key="hi")])
def test_a_name_or_a_key_leaves_the_instance_out(options: DurableOptions) -> None:
    """The author says what the call is known by."""
    first = identify(Session().send, ("hi",), {}, options)
    second = identify(Session().send, ("hi",), {}, options)

    assert first.spec.function_id == second.spec.function_id
    assert first.digest == second.digest


def test_a_name_stands_for_module_and_qualified_name() -> None:
    """Recorded calls survive renaming and moving the function."""
    assert "pay" == function_id(transfer, "a", "b", name="pay")
    assert "pay" == function_id(lambda: 1, name="pay")


def test_a_callable_without_a_name_asks_for_one() -> None:
    """Something to be known by is the least that a call needs."""
    nameless = Greet("Hello")
    nameless.__qualname__ = None  # type: ignore[attr-defined]  # that is the test

    with pytest.raises(UnsupportedCallableError, match=r"ctx\.options\(name=\.\.\.\)"):
        identify(nameless, ("Ann",), {})


@pytest.mark.rows("ID-06", "ID-08", "ID-09")
@pytest.mark.parametrize(
    ("args", "other"),
    [
        ((1, 2, 3), (1, 2, 4)),
        ((1, 2), (2, 1)),
        ((1,), (1.0,)),
        ((1,), (True,)),
        (([1],), ((1,),)),
        (({"a": [1, {"b": "c"}]},), ({"a": [1, {"b": "d"}]},)),
        ((), (None,)),
    ],
)
def test_equal_arguments_have_equal_digests_and_different_ones_do_not(
    args: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    """Types and order count."""
    assert digest(collect, 0, *args) == digest(collect, 0, *args)
    assert digest(collect, 0, *args) != digest(collect, 0, *other)


@pytest.mark.rows("ID-10")
def test_a_value_is_the_same_by_position_and_by_keyword() -> None:
    """A tidied call must find its record."""
    by_position = digest(transfer, "a", "b", 5)

    assert by_position == digest(transfer, "a", "b", amount=5)
    assert by_position == digest(transfer, amount=5, target="b", source="a")


@pytest.mark.rows("GAP-30")
def test_the_order_of_keywords_and_the_identity_of_objects_do_not_count() -> None:
    """Neither is the same after a restart."""
    first, second = (str(b"shared", "ascii") for _ in range(2))

    assert digest(collect, 0, a=1, b=2) == digest(collect, 0, b=2, a=1)
    assert digest(max, [1], key=len, default=0) == digest(max, [1], default=0, key=len)
    assert digest(collect, first, first) == digest(collect, first, second)


def test_defaults_that_are_not_given_are_left_out() -> None:
    """A new parameter with a default changes no call that was recorded before it."""

    def before(amount: int) -> int:
        return amount

    def after(amount: int, fee: int = 0) -> int:
        return amount + fee

    assert digest(before, 1) == digest(after, 1)
    assert digest(after, 1) != digest(after, 1, 0)


def test_arguments_beyond_the_named_ones_count_by_place_and_by_name() -> None:
    """`*args` and `**kwargs` are arguments like others."""
    assert digest(collect, 1, 2, 3) != digest(collect, 1, 3, 2)
    assert digest(collect, 1, a=2) != digest(collect, 1, b=2)
    assert digest(collect, 1, 2) == digest(collect, 1, *[2])


def test_a_builtin_that_hides_its_signature_counts_its_arguments_by_place() -> None:
    """`max` tells nobody what it takes."""
    assert digest(max, 1, 2) == digest(max, 1, 2)
    assert digest(max, 1, 2) != digest(max, 2, 1)


def test_arguments_that_do_not_fit_are_refused_before_anything_runs() -> None:
    """A call that cannot be made must not be recorded as begun."""
    with pytest.raises(TypeError, match="missing a required argument: 'target'"):
        identify(transfer, ("a",), {})
    with pytest.raises(TypeError, match="too many positional arguments"):
        identify(transfer, ("a", "b", 1, 2), {})
    with pytest.raises(TypeError, match="missing a required argument: 'first'"):
        identify(collect, (), {}, DurableOptions(key="k"))


@pytest.mark.parametrize(
    ("args", "kwargs", "name"),
    [
        ((Lock(), "b"), {}, "source"),
        (("a", Lock()), {}, "target"),
        (("a",), {"target": Lock()}, "target"),
        (("a", "b"), {"currency": Lock()}, "currency"),
    ],
)
def test_an_argument_without_a_stable_form_is_named(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str
) -> None:
    """The author has to know which one, and what to do."""
    with pytest.raises(
        EncodeError, match=rf"argument '{name}' of .*:transfer \(_thread.lock\)"
    ):
        identify(transfer, args, kwargs)


def test_arguments_that_are_too_deep_only_together_are_refused_too() -> None:
    """The list of the arguments is one level by itself."""
    nested: list[Any] = []
    for _ in range(99):
        nested = [nested]
    digest(collect, 0)

    with pytest.raises(EncodeError, match=":transfer"):
        identify(transfer, ("a", nested), {})


def test_a_key_stands_for_the_arguments() -> None:
    """For arguments that have no stable form."""
    first = identify(collect, (Lock(),), {}, DurableOptions(key="one"))
    second = identify(collect, (Lock(),), {}, DurableOptions(key="one"))
    other = identify(collect, (Lock(),), {}, DurableOptions(key="two"))

    assert first.digest == second.digest
    assert first.digest != other.digest


SEEDED = """
from dataclasses import dataclass
from durable_agents.journal import identify

@dataclass
class Order:
    tags: frozenset[str]

def buy(*args, **kwargs): ...

words = {"alpha", "beta", "gamma", "delta", "epsilon"}
calls = [
    identify(buy, (words, frozenset(words)), {}),
    identify(buy, ({w: 1 for w in words},), {w: 2 for w in words}),
    identify(buy, (Order(frozenset(words)),), {}),
    identify(lambda w: w in {"alpha", "beta", "gamma"}, ("x",), {}),
]
print(*(f"{c.spec.function_id} {c.digest.hex()}" for c in calls), sep="\\n")
"""


@pytest.mark.slow
@pytest.mark.rows("GAP-13")
def test_identities_are_the_same_under_every_hash_seed() -> None:
    """A restart draws a new seed, and sets and dicts come in another order."""
    found = [
        subprocess.run(  # noqa: S603 -- our own script
            [sys.executable, "-c", SEEDED],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    ]

    assert 4 == len(found[0].splitlines())
    assert [found[0]] * 3 == found


def test_a_preview_shows_the_arguments_in_short() -> None:
    """People recognize a call by it."""
    identity = identify(collect, ("a" * 70, 1, [1, 2], None, 2.5), {"flag": True})

    assert f"{__name__}:collect({identity.preview})" == str(identity)
    expected = f"'{'a' * 27}...{'a' * 28}', 1, [1, 2], None, 2.5, flag=True"
    assert expected == identity.preview


def test_a_preview_is_bounded() -> None:
    """It is in the journal once per call, whatever the arguments."""
    identity = identify(collect, ("x" * 50,) * 50, {})

    assert 120 == len(identity.preview)


class Odd:
    """Its text cannot be written as UTF-8."""

    def __repr__(self) -> str:
        return "\ud800 é"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(Odd(), "\\ud800 é"), (10**5000, "<int"), (2**64, "18446744073709551616")],
    ids=["lone surrogate", "too long for Python", "beyond 64 bits"],
)
def test_a_preview_never_fails_a_call(value: object, shown: str) -> None:
    """What has no text, or none that can be written, is shown by what there is of it."""
    identity = identify(collect, (value,), {}, DurableOptions(key="k"))

    assert identity.preview.startswith(shown)
    assert identity.preview.encode()


def test_a_keyword_that_is_no_text_for_a_file_has_a_digest_all_the_same() -> None:
    """JSON can bring lone surrogates as names."""
    identity = identify(collect, (1,), {"\ud800": 2})

    assert "1, \\ud800=2" == identity.preview
    assert identity.digest != digest(collect, 1)


def test_a_function_of_a_module_is_described_once() -> None:
    """The description of a callable is on the path of every call."""
    assert identify(transfer, ("a", "b"), {}).spec is identify(transfer, ("c", "d"), {}).spec


def test_a_function_with_a_closure_is_described_each_time() -> None:
    """It may be made anew for each call, and must not be kept alive."""
    wanted = 1

    def add(amount: int) -> int:
        return amount + wanted

    assert identify(add, (1,), {}).spec is not identify(add, (1,), {}).spec
    assert digest(add, 1) == digest(add, 1)


def test_a_wrapper_is_not_taken_for_the_function_whose_notes_it_carries() -> None:
    """`functools.wraps` copies whatever a function keeps."""

    async def charge(card: str) -> str:
        return card

    assert identify(charge, ("visa",), {}).spec.is_async

    @functools.wraps(charge)
    def at_once(card: str) -> str:
        return card

    assert not identify(at_once, ("visa",), {}).spec.is_async


def test_arguments_are_counted_against_every_form_of_parameter() -> None:
    """What was found out once about a function holds for its next calls."""

    def keyword_only(a: int, *, b: int) -> None: ...

    def optional(a: int, b: int = 2, *rest: int, c: int = 3) -> None: ...

    for fn, args in [(keyword_only, (1,)), (optional, ())]:
        with pytest.raises(TypeError, match="missing a required"):
            identify(fn, args, {})
    for count in range(1, 5):
        assert identify(optional, tuple(range(count)), {}).digest
    assert identify(keyword_only, (1,), {"b": 2}).digest
