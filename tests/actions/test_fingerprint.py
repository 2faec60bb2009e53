"""A fingerprint changes when the code does, and never otherwise."""

# ruff: noqa: ANN401, ARG001, ARG002 - code of any kind is the subject, and none of it runs

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from textwrap import dedent
from types import MethodType, ModuleType
from typing import Any

import pytest

from durable_agents import Agent, Event, InputEvent, RetryPolicy
from durable_agents.actions import change_between, digest_of
from durable_agents.actions._fingerprint import fingerprint_of
from durable_agents.agent import AgentPlan
from durable_agents.errors import DefinitionError

ACT = """
async def act(event, ctx):
    value = await ctx.durable(fetch, event.input)
    try:
        if value > 3 and value not in {1, 2}:
            await ctx.durable(store, value, "large")
    except ValueError as error:
        value = str(error)
    return [await ctx.durable(fetch, n) for n in range(value) if n]
"""
LAID_OUT = '''
# Its own comment.


async def act(
    event,

    ctx,
):
    """What it does."""
    value = (
        await ctx.durable(
            fetch,  # as before
            event.input,
        )
    )
    try:
        pass
        if (
            value > 3
            and value not in {
                1,
                2,
            }
        ):
            await ctx.durable(store,
                value,
                'large')
    except ValueError as error:
        value = str(
            error
        )
    return [
        await ctx.durable(fetch, n)
        for n in range(value)
        if n
    ]
'''


class Color(Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Fixed:
    limit: int


@dataclass
class Mutable:
    limit: int


def module_of(source: str, name: str = "shop", **named: Any) -> dict[str, Any]:
    """A module of a text, as far as its functions can tell."""
    namespace: dict[str, Any] = {"__name__": name, **named}
    exec(compile(dedent(source), "a file", "exec", dont_inherit=True), namespace)  # noqa: S102
    return namespace


def fingerprint(source: str, *, act: str = "act", **named: Any) -> bytes:
    """Of the function `act` in a module of this text."""
    fn: Callable[..., Any] = module_of(source, **named)[act]
    return fingerprint_of(fn, {})


def test_layout_comments_and_docstrings_do_not_count() -> None:
    """A formatter may go over the code of runs that are under way."""
    assert fingerprint(ACT) == fingerprint(LAID_OUT) == fingerprint("\n" * 99 + ACT)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("value > 3", "value > 4"),
        ("value > 3", "value >= 3"),
        ("value > 3", "value > 3.0"),
        ("{1, 2}", "{1, 3}"),
        ("not in", "in"),
        (" and ", " or "),
        ('"large"', "b'large'"),
        ("fetch, event", "store, event"),
        ("event.input", "event.output"),
        ("ValueError", "TypeError"),
        ("str(error)", "repr(error)"),
        ("str(error)", "str(value)"),
        ("if n]", "if not n]"),
        ("async def act", "def act"),
        ("event, ctx", "event, ctx, more=None"),
        ("event, ctx", "event, *ctx"),
        ("    return", "    return  1\n    return"),
        ("    return", "    while True:\n        pass\n    return"),
    ],
)
def test_each_change_of_the_code_counts(was: str, now: str) -> None:
    """What is called, with what, when, and in which case."""
    assert was in ACT
    changed = ACT.replace(was, now, 1)
    if now.startswith("def"):
        changed = changed.replace("await ", "")

    assert "function" == change_between(fingerprint(ACT), fingerprint(changed))


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (
            "try:\n    a()\n    b()\nexcept ValueError:\n    c()",
            "try:\n    a()\nexcept ValueError:\n    c()\nelse:\n    b()",
        ),
        ("with a():\n    b()\n    c()", "with a():\n    b()\nc()"),
        ("if a():\n    b()\nelse:\n    c()", "if a():\n    c()\nelse:\n    b()"),
        ("if a() is None:\n    b()", "if a() is not None:\n    b()"),
        ("for i in a():\n    b()\nc()", "for i in a():\n    b()\n    c()"),
        ("while a():\n    b()\nc()", "if a():\n    b()\nc()"),
        ("x = y = a()\nb(x, y)", "x = y = a()\nb(y, x)"),
        ("def f():\n    a()\nf()", "def g():\n    a()\ng()"),
        ("def f(x=1):\n    a()\nf()", "def f(x=2):\n    a()\nf()"),
        ("(lambda: a())()", "(lambda: b())()"),
        ("class C:\n    x = 1", "class C:\n    x = 2"),
        ("a('\\ud800')", "a('\\ud801')"),
    ],
)
def test_where_a_statement_stands_counts(was: str, now: str) -> None:
    """Instructions alone would be the same for some of these."""

    def source(body: str) -> str:
        return "def act(event, ctx):\n" + "".join(f"    {n}\n" for n in body.splitlines())

    assert fingerprint(source(was)) != fingerprint(source(now))


def test_the_docstring_of_a_class_within_does_not_count() -> None:
    """Nor do its lines."""
    plain = "def act(event, ctx):\n    class C(Base):\n        x = 1\n    return C"
    told = plain.replace("        x", '        """C."""\n\n        x')

    assert fingerprint(plain) == fingerprint(told)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (1, 2),
        (1, True),
        ("a", "b"),
        ((1, (2,)), (1, (3,))),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": 2}),
        ({1, 2}, {1, 3}),
        (timedelta(1), timedelta(2)),
        (Color.RED, Color.BLUE),
        (Fixed(1), Fixed(2)),
        (RetryPolicy(max_attempts=2), RetryPolicy(max_attempts=3)),
        (Fixed, Mutable),
        (len, max),
        (functools.partial(divmod, 1), functools.partial(divmod, 2)),
        (lambda: 1, lambda: 2),
        (functools, sys),
        (Fixed(1).__eq__, Fixed(1).__repr__),
    ],
)
def test_defaults_and_configuration_count(was: object, now: object) -> None:
    """They are written beside the code."""

    def act(event: Any, ctx: Any, value: Any = None) -> None:
        """Take a value by default."""

    def with_default(value: object) -> bytes:
        act.__defaults__ = (value,)
        return fingerprint_of(act, {})

    assert with_default(was) == with_default(was) != with_default(now)
    assert fingerprint_of(act, {"a": was}) != fingerprint_of(act, {"a": now})


class Counting:
    """Instances are callable, and count their calls."""

    calls = 0

    def __call__(self) -> None:
        self.calls += 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Mutable(1), Mutable(2)),
        (object(), object()),
        (Counting(), Counting()),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1, 2, 17}, {17, 2, 1}),
    ],
)
def test_the_state_of_objects_does_not_count(one: object, other: object) -> None:
    """It is not the same in the next process; nothing of it is called or pickled."""
    assert digest_of(one) == digest_of(other)


def test_what_holds_itself_has_a_fingerprint() -> None:
    """A function in its own closure, a list in itself."""

    def act(event: Any, ctx: Any) -> object:
        return act

    endless: list[Any] = []
    endless.append(endless)

    assert fingerprint_of(act, {}) == fingerprint_of(act, {})
    assert digest_of(endless) == digest_of(endless)


def around(fn: Callable[..., Any], times: object = 1) -> Callable[..., Any]:
    """A decorator, as everybody writes them."""

    @functools.wraps(fn)
    def wrapper(*args: Any) -> Any:
        return [fn(*args), times]

    return wrapper


def test_a_decorator_and_what_it_is_around_count() -> None:
    """So does what it was given, unless that may change while it runs."""

    def act(event: Any, ctx: Any) -> int:
        return 1

    def other(event: Any, ctx: Any) -> int:
        return 2

    prints = [
        fingerprint_of(fn, {})
        for fn in (act, other, around(act), around(other), around(act, 2), around(act, [1]))
    ]

    assert 6 == len(set(prints))
    assert prints[2] == fingerprint_of(around(act, 1), {})
    assert prints[5] == fingerprint_of(around(act, [1, 2]), {})


def test_an_empty_cell_is_no_problem() -> None:
    """A closure may refer to what is not there yet."""

    def make() -> Callable[..., Any]:
        def act(event: Any, ctx: Any) -> object:
            return later

        print_of = fingerprint_of(act, {})
        later = print_of
        return lambda: later

    assert 8 == len(make()())


HELPED = """
def act(event, ctx):
    return helper(event)


def helper(event):
    return further(event)


def further(event):
    return 1


def unused(event):
    return 1
"""


@pytest.mark.parametrize(
    ("was", "now", "change"),
    [
        ("further(event)\n", "further(event, 2)\n", "used"),
        ("def further(event):\n    return 1", "def further(event):\n    return 2", "used"),
        ("def unused(event):\n    return 1", "def unused(event):\n    return 2", "none"),
        ("return helper(event)", "return helper(2)", "function"),
    ],
)
def test_a_change_of_a_function_that_is_used_is_told_apart(
    was: str, now: str, change: str
) -> None:
    """However many functions are in between; what is not used does not count."""
    assert was in HELPED

    assert change == change_between(fingerprint(HELPED), fingerprint(HELPED.replace(was, now)))


def a_module(name: str, source: str, **named: Any) -> ModuleType:
    """A module that others may use."""
    module = ModuleType(name)
    vars(module).update(named)
    exec(compile(dedent(source), "another file", "exec"), vars(module))  # noqa: S102
    return module


@pytest.mark.parametrize(
    ("act", "counts"),
    [
        ("def act(event, ctx):\n    return prices.price(event)", True),
        ("def act(event, ctx):\n    return [price(e) for e in event]", True),
        ("def act(event, ctx):\n    return Shop().price()", True),
        ("def act(event, ctx):\n    return shop.price()", True),
        ("def act(event, ctx):\n    return Shop.fixed_price()", True),
        ("def act(event, ctx):\n    return shop.the_price", True),
        ("def act(event, ctx):\n    return bound(event)", True),
        ("def act(event, ctx):\n    return partly()", True),
        ("def act(event, ctx):\n    return wrapped()", True),
        ("def act(event, ctx):\n    return ctx.durable(price, event)", False),
        ("def act(event, ctx):\n    return price_durably(event)", False),
        ("def act(event, ctx):\n    return library.ask(event)", False),
        ("def act(event, ctx):\n    return Shop().cost()", False),
        ("def act(event, ctx):\n    return missing(event)", False),
    ],
)
@pytest.mark.parametrize(
    "place",
    [
        {"__package__": "shop"},
        {"__package__": "shop.sub"},
        {"__package__": "", "__file__": "folder/prices.py"},
    ],
)
def test_functions_of_the_program_are_found_by_their_names(
    act: str, counts: bool, place: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a module, a class or an object; durable ones and libraries are left out."""

    def printed(amount: int) -> bytes:
        price = f"def price(*given):\n    return {amount}\n"
        shop = f"""
            from durable_agents import durable
            import functools
            {price.replace(chr(10), chr(10) + " " * 12)}
            @durable()
            def price_durably(event):
                return {amount}
            class Shop:
                def price(self):
                    return {amount}
                @staticmethod
                def fixed_price():
                    return {amount}
                @property
                def the_price(self):
                    return {amount}
            shop = Shop()
            bound = shop.price
            partly = functools.partial(price, 1)
            wrapped = around(price)
            """
        name = "prices" if "__file__" in place else "shop.prices"
        prices = a_module(name, shop, around=around, **place)
        monkeypatch.setitem(sys.modules, name, prices)
        library = a_module("library", price.replace("price", "ask"), __package__="library")
        own = {**place, "__file__": "folder/act.py"} if "__file__" in place else place
        named = {n: v for n, v in vars(prices).items() if not n.startswith("__")}
        return fingerprint(act, **own, **named, prices=prices, library=library)

    assert ("used" if counts else "none") == change_between(printed(1), printed(2))


class Reviews(Agent):
    """Its action uses a method of its own."""

    async def act(self, event: Any, ctx: Any) -> object:
        return self.price(event)

    def price(self, event: Any) -> int:
        return 1


class Others(Reviews):
    def price(self, event: Any) -> int:
        return 2


def test_a_method_uses_those_of_its_class() -> None:
    """An agent that is a class is written so."""

    def printed(agent: Reviews) -> bytes:
        return fingerprint_of(MethodType(Reviews.act, agent), {})

    one, other = printed(Reviews("a")), printed(Others("a"))
    assert one == printed(Reviews("another"))
    assert one[4:] != other[4:]


def test_journals_without_a_fingerprint_are_not_compared() -> None:
    """They were recorded before there were any, or nothing could be said of the code."""
    assert "unknown" == change_between(b"", b"12345678")
    assert "unknown" == change_between(b"12345678", b"")
    assert "unknown" == change_between(b"", b"")


class Disguised:
    """Stands for something else, and fails when it is asked what that is."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError


class Endless(list[int]):
    """A list that never ends."""

    def __iter__(self) -> Any:
        raise RuntimeError


def test_nothing_of_an_object_is_run() -> None:
    """A proxy of a web framework may be a global, a default or in a closure."""
    disguised, endless = Disguised(), Endless()

    def act(event: Any, ctx: Any, given: Any = disguised) -> object:
        return disguised, endless, given

    was = fingerprint_of(act, {"proxy": disguised, "endless": endless})

    assert was == fingerprint_of(act, {"proxy": Disguised(), "endless": Endless()})
    source = "def act(event, ctx):\n    return proxy.name(proxy)"
    assert 8 == len(fingerprint(source, proxy=disguised))


def test_what_nests_too_deep_has_no_fingerprint() -> None:
    """That is no reason not to run it."""
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]

    def act(event: Any, ctx: Any) -> None:
        """An action."""

    assert b"" == fingerprint_of(act, {"deep": deep})
    assert 8 == len(fingerprint_of(act, {"deep": [[]]}))


AGENT = """
from durable_agents import Agent, InputEvent

def price(product):
    return {"tea", "nut", "salt"} & {product}

agent = Agent("shop", input=str)

@agent.action(InputEvent, names={"a", "b", "c"})
async def sell(event, ctx, limits=frozenset({"x", "y", "z"})):
    return price(event.input), event.input in {"one", "two", "three", 4}
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Fingerprints of one agent in several processes, in files of several names."""
    printed: list[str] = []
    for seed, name in (("1", "shop.py"), ("2", "store.py")):
        path = tmp_path_factory.mktemp("elsewhere") / name
        path.write_text(AGENT + TOLD)
        done = subprocess.run(  # noqa: S603 - our own text
            [sys.executable, path],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        printed.append(done.stdout)
    return printed


TOLD = """
from durable_agents.actions import digest_of
from durable_agents.actions._fingerprint import fingerprint_of
print(fingerprint_of(sell, {"names": {"a", "b", "c"}}).hex(), digest_of(price))
"""


def test_a_fingerprint_is_the_same_in_every_process(elsewhere: list[str]) -> None:
    """Whatever the hash seed, and wherever the file lies."""
    assert elsewhere[0] == elsewhere[1] != ""


class Half(Event):
    """Half of the work."""


def agent(**options: Any) -> Agent:
    """An agent with one action, declared in some way."""

    async def act(event: Any, ctx: Any) -> None:
        """An action."""

    made = Agent("tested", input=options.pop("input", None))
    given: dict[str, Any] = {"name": "act", "triggers": InputEvent, "fn": act} | options
    return made.add_action(**given)


def later(event: Any) -> bool:
    """A condition."""
    return bool(event)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "other"},
        {"triggers": [InputEvent, Half]},
        {"when": later},
        {"retry": RetryPolicy(max_attempts=2)},
        {"limit": 3},
        {"input": int},
        {"fn": None},
    ],
)
def test_the_fingerprint_of_an_agent_is_that_of_all_it_declares(
    options: dict[str, Any],
) -> None:
    """Names, triggers, conditions, retries, configuration, code and the type of inputs."""
    if "fn" in options:

        async def another(event: Any, ctx: Any) -> int:
            return 1

        options = {"fn": another}

    assert agent().fingerprint == agent().fingerprint != agent(**options).fingerprint


def test_a_plan_has_the_fingerprint_of_its_agent() -> None:
    """And each action its own, for people."""
    plan = AgentPlan.of(agent())
    (action,) = plan.actions.values()

    assert agent().fingerprint == plan.fingerprint
    assert (16, action.code) == (len(action.fingerprint), bytes.fromhex(action.fingerprint))


def test_an_agent_that_is_wrongly_declared_has_none() -> None:
    """Its problems are told."""
    with pytest.raises(DefinitionError, match="blank name"):
        _ = agent(name=" ").fingerprint


def test_code_that_has_run_is_the_code_that_it_was() -> None:
    """The interpreter rewrites what runs often."""
    act: Callable[..., Any] = module_of("""
        def act(event, ctx):
            total = 0
            for number in range(event):
                total += number
            return total
        """)["act"]
    before = fingerprint_of(act, {})
    for _ in range(100):
        act(100, None)

    from durable_agents.actions import _code_digest, _used  # noqa: PLC0415

    _code_digest.code_digest.cache_clear()
    _used._names_in.cache_clear()  # noqa: SLF001
    assert before == fingerprint_of(act, {})


def test_the_folder_of_a_file_that_is_run_is_one_program(tmp_path: Path) -> None:
    """`python shop.py` and `durable-agents run shop.py:agent` are the same code."""
    (tmp_path / "prices.py").write_text("def price(event):\n    return 1\n")
    text = """
        import prices, sys
        def act(event, ctx):
            return prices.price(event)
        if __name__ == "__main__":
            import shop
            from durable_agents.actions._fingerprint import fingerprint_of
            print(fingerprint_of(act, {}) == fingerprint_of(shop.act, {}))
            was = fingerprint_of(act, {})
            exec("def price(event): return 2", vars(prices))
            print(was == fingerprint_of(act, {}))
        """
    (tmp_path / "shop.py").write_text(dedent(text))
    done = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, tmp_path / "shop.py"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )

    assert "True\nFalse\n" == done.stdout
