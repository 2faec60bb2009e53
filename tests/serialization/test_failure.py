"""Exceptions come back without their constructors: same class, text, attributes, chain."""

# ruff: noqa: ANN401, EM101, TRY003 - values of any type, and errors as users write them

import builtins
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Self

import httpx
import msgspec
import pydantic
import pytest
from pydantic_core import PydanticCustomError

from durable_agents import errors
from durable_agents.errors import CallFailedError, DecodeError, PayloadTooLargeError
from durable_agents.serialization import Codec, Payload, recorded_traceback

CODEC = Codec()
DATA_ONLY = Codec(pickle="refuse")
EMPTY: dict[str, int] = {}


def again(error: BaseException, codec: Codec = CODEC) -> BaseException:
    """The exception as the journal hands it back."""
    return codec.decode_failure(codec.encode_failure(error, "result of shop:charge"))


def raised(act: Callable[[], object]) -> BaseException:
    """What a call raises."""
    try:
        act()
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError


def example(cls: type[BaseException]) -> BaseException:
    """An instance of a builtin exception with all that its constructor takes."""
    arguments: dict[type[BaseException], tuple[Any, ...]] = {
        UnicodeDecodeError: ("utf-8", b"abc", 0, 1, "bad"),
        UnicodeEncodeError: ("utf-8", "abc", 0, 1, "bad"),
        UnicodeTranslateError: ("abc", 0, 1, "bad"),
        ExceptionGroup: ("several", [ValueError(1), ExceptionGroup("inner", (KeyError("x"),))]),
        BaseExceptionGroup: ("several", [KeyboardInterrupt(1), ValueError("x")]),
        SyntaxError: ("bad", ("file.py", 1, 2, "text", 1, 3)),
        OSError: (2, "nope", "file", None, "other file"),
    }
    for base, taken in arguments.items():
        if issubclass(cls, base):
            return cls(*taken)
    if issubclass(cls, ImportError):
        return cls("message", name="module", path="path")
    return cls("message", 2)


BUILTIN = [
    cls
    for cls in vars(builtins).values()
    if isinstance(cls, type) and issubclass(cls, BaseException)
]


@pytest.mark.rows("ID-17", "ID-19")
@pytest.mark.parametrize("cls", dict.fromkeys(BUILTIN), ids=lambda cls: cls.__name__)
def test_a_builtin_exception_comes_back_whole(cls: type[BaseException]) -> None:
    """Class, arguments, text and the fields that C keeps for it."""
    error = example(cls)

    back = again(error, DATA_ONLY)

    assert type(error) is type(back)
    assert (str(error), repr(error)) == (str(back), repr(back))
    for name in ("args", "errno", "filename", "filename2", "start", "object", "end", "reason"):
        assert repr(getattr(error, name, None)) == repr(getattr(back, name, None))
    for name in ("name", "path", "lineno", "end_offset", "value", "code", "msg", "message"):
        assert getattr(error, name, None) == getattr(back, name, None)
    assert not hasattr(back, "__notes__")


@pytest.mark.parametrize("cls", [OSError, SyntaxError, ImportError, StopIteration, SystemExit])
@pytest.mark.parametrize("arguments", [(), ("one",)], ids=len)
def test_a_builtin_exception_without_its_usual_arguments_comes_back(
    cls: type[BaseException], arguments: tuple[str, ...]
) -> None:
    """What was never set stays unset."""
    error = cls(*arguments)

    assert (repr(error), str(error)) == (repr(again(error)), str(again(error)))


@pytest.mark.parametrize(
    "act",
    [
        lambda: open("/nowhere/at/all"),  # noqa: PTH123, SIM115
        lambda: None.missing,  # type: ignore[attr-defined]
        lambda: int("x"),
        lambda: EMPTY["key"],
        b"\xff".decode,
        lambda: __import__("no_such_module"),
        [].__iter__().__next__,
        lambda: compile("a b", "file", "exec"),
        lambda: 1 / 0,
    ],
    ids=["open", "attribute", "int", "key", "decode", "import", "next", "syntax", "zero"],
)
def test_what_python_itself_raises_comes_back(act: Callable[[], object]) -> None:
    """Not all of these were made the way their constructors say."""
    error = raised(act)

    back = again(error)

    assert (type(error), repr(error), str(error)) == (type(back), repr(back), str(back))


OURS = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, BaseException)
]


@pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.__name__)
def test_an_error_of_ours_comes_back_whole(cls: type[BaseException]) -> None:
    """A durable call may let any of them through."""
    taken = signature(cls.__init__).parameters
    counted = [name for name in taken if name not in {"self", "args", "kwargs", "problems"}]
    error = cls(*range(1, len(counted) + 1))

    back = again(error, DATA_ONLY)

    assert (type(error), error.args) == (type(back), back.args)
    assert (str(error), vars(error)) == (
        str(back),
        {name: part for name, part in vars(back).items() if not name.startswith("_")},
    )


class TwoArguments(Exception):
    """What cannot be unpickled."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.details = {"reason": (reason,)}


class NoTruth(Exception):
    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        raise AssertionError

    __hash__ = None  # type: ignore[assignment]  # no dict may rely on it


class Slotted(OSError):
    __slots__ = ("extra", "never_set")

    def __init__(self, extra: Any) -> None:
        super().__init__(5, "io")
        self.extra = extra

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


@dataclass
class Declared(Exception):
    x: int
    parts: list[int] = field(default_factory=list)


class Grouped(ExceptionGroup[Exception]):
    def __new__(cls, errors: list[Exception], code: int) -> Self:
        made = super().__new__(cls, f"code {code}", errors)
        made.code = code
        return made

    code: int

    def __init__(self, errors: list[Exception], code: int) -> None:
        """Say what the code is."""


@pytest.mark.rows("ID-18", "GAP-32", "DX-04")
def test_an_exception_of_the_users_keeps_its_attributes() -> None:
    """Its constructor is not called, so it may take what it likes."""
    back = again(TwoArguments(500, "down"), DATA_ONLY)

    assert isinstance(back, TwoArguments)
    assert ("500: down", 500, {"reason": ("down",)}) == (str(back), back.code, back.details)


@pytest.mark.rows("GAP-33")
def test_an_exception_whose_truth_is_false_comes_back() -> None:
    """Nor is it asked whether it equals another, or for its hash."""
    error = NoTruth("x")
    error.__cause__ = NoTruth("cause")

    back = again(error)

    assert (type(back), type(back.__cause__)) == (NoTruth, NoTruth)


def test_slots_and_the_fields_of_c_come_back_together() -> None:
    """An OSError with a constructor of its own takes its arguments elsewhere."""
    back = again(Slotted((1, 2)))

    assert isinstance(back, Slotted)
    assert ((1, 2), 5, "[Errno 5] io") == (back.extra, back.errno, str(back))
    assert not hasattr(back, "never_set")


def test_an_exception_that_is_a_dataclass_comes_back() -> None:
    """Its fields are attributes like others."""
    assert Declared(1, [2]) == again(Declared(1, [2]))


def test_groups_come_back_with_their_members() -> None:
    """`except*` must split them as it did at first."""
    group = Grouped([ValueError("a"), ExceptionGroup("inner", [KeyError("b")])], 7)

    back = again(group)

    assert isinstance(back, Grouped)
    assert (7, "code 7", repr(group)) == (back.code, back.message, repr(back))
    matched, rest = back.split(KeyError)
    assert [[KeyError], [ValueError]] == [
        [type(leaf) for leaf in leaves(part)] for part in (matched, rest)
    ]


def leaves(error: Any) -> list[BaseException]:
    """The exceptions of a group, but for groups."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for member in error.exceptions for leaf in leaves(member)]


def chained() -> BaseException:
    """An error with a cause, that has a context."""

    def fail() -> None:
        try:
            try:
                EMPTY["first"]
            except KeyError:
                int("second")
        except ValueError as error:
            raise TwoArguments(1, "third") from error

    return raised(fail)


def test_causes_and_contexts_come_back() -> None:
    """A cause that is the context too stays one object."""
    back = again(chained())

    assert isinstance(back.__cause__, ValueError)
    assert back.__cause__ is back.__context__
    assert back.__suppress_context__
    assert isinstance(back.__cause__.__context__, KeyError)
    assert not back.__cause__.__suppress_context__


def test_a_cycle_of_exceptions_comes_back() -> None:
    """Contexts, attributes and members may lead back to the exception."""
    inner = ValueError("inner")
    error = ExceptionGroup("outer", [inner])
    inner.__context__ = error
    inner.args = (error, [inner])
    inner.owner = error  # type: ignore[attr-defined]

    back: Any = again(error)

    member = back.exceptions[0]
    assert back is member.__context__ is member.owner is member.args[0]
    assert member is member.args[1][0]


def test_a_very_long_chain_is_cut_with_a_note() -> None:
    """A loop that retries inside `except` makes one link per round."""
    error = ValueError(0)
    first = error
    for number in range(1, 200):
        error.__context__ = ValueError(number)
        error = error.__context__

    links: list[BaseException] = [again(first)]
    while (context := links[-1].__context__) is not None:
        links.append(context)

    assert list(range(65)) == [link.args[0] for link in links]
    assert links[-1].__notes__ == [
        "durable_agents: what came before it was not recorded: 64 links are the limit"
    ]


def test_a_chain_that_leads_back_is_not_cut() -> None:
    """What is recorded already costs nothing."""
    errors = [ValueError(number) for number in range(65)]
    for error, context in zip(errors, [*errors[1:], errors[0]], strict=True):
        error.__context__ = context

    back: Any = again(errors[0])

    for _ in range(65):
        assert not hasattr(back, "__notes__")
        back = back.__context__
    assert back.args == (0,)


def test_notes_come_back() -> None:
    """People read them."""
    error = ValueError("x")
    error.add_note("a note")
    error.add_note("\ud800")

    assert error.__notes__ == again(error).__notes__


def test_what_cannot_be_recorded_is_left_out_with_a_note() -> None:
    """The failure itself must never be hidden by what it holds."""
    error = ValueError("x", threading.Lock())
    error.lock = [threading.Lock()]  # type: ignore[attr-defined]
    error.kept = (1, 2)  # type: ignore[attr-defined]

    back: Any = again(error)

    assert ("x", str(error.args[1]), (1, 2)) == (*back.args, back.kept)
    assert not hasattr(back, "lock")
    assert back.__notes__[0].startswith(
        "durable_agents: argument 1 (_thread.lock) is kept as its text: pickle refuses it"
    )
    assert back.__notes__[1].startswith(
        "durable_agents: attribute lock (list) was not recorded: [0] pickle refuses it"
    )


def test_notes_that_are_no_list_are_left_alone() -> None:
    """An exception may carry anything under that name."""
    error = ValueError(threading.Lock())
    error.__notes__ = "text"  # type: ignore[assignment]

    assert again(error).__notes__ == "text"  # type: ignore[comparison-overlap]


def test_an_attribute_that_nests_too_deep_is_left_out() -> None:
    """So is one that holds itself."""
    cycle: list[Any] = []
    cycle.append(cycle)
    error = ValueError("x")
    error.cycle = cycle  # type: ignore[attr-defined]
    setattr(error, "\ud800", 1)

    assert "contains itself" in again(error).__notes__[0]


def test_an_attribute_is_left_out_where_the_stack_runs_out() -> None:
    """The caller may stand deep in a recursion of its own."""
    deep: Any = ()
    for _ in range(90):
        deep = (deep,)
    error = ValueError("x")
    error.deep = deep  # type: ignore[attr-defined]

    def descend(left: int) -> BaseException:
        return descend(left - 1) if left else again(error)

    depth, frame = 0, sys._getframe()  # noqa: SLF001 - counts the frames in use
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back

    back = descend(sys.getrecursionlimit() - depth - 120)

    assert "attribute deep (tuple) was not recorded: it nests too deep" in back.__notes__[0]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __getattribute__(self, name: str) -> Any:
        if name == "__notes__":
            raise RuntimeError("no notes")
        return super().__getattribute__(name)


def test_an_exception_without_a_text_comes_back() -> None:
    """Its own code may fail whenever it is asked for anything."""
    back = again(Unprintable(1))

    assert type(back) is Unprintable
    assert back.args == (1,)


class Unformattable(Exception):
    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no cause")

    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no arguments")


def test_an_exception_that_cannot_be_formatted_comes_back() -> None:
    """What it keeps is read where it lies, past its properties."""
    error = Unformattable(1)
    vars(BaseException)["__cause__"].__set__(error, ValueError("x"))

    back = again(error)

    assert repr(vars(BaseException)["__cause__"].__get__(back)) == "ValueError('x')"
    assert (1,) == vars(BaseException)["args"].__get__(back)
    assert "cannot be formatted: RuntimeError" in str(recorded_traceback(back))


def test_the_traceback_comes_back_as_text() -> None:
    """People need it; frames cannot be kept."""
    text = recorded_traceback(again(chained()))

    assert text is not None
    assert text.startswith("Traceback")
    assert "in fail" in text
    assert "KeyError: 'first'" in text
    assert recorded_traceback(ValueError()) is None


def test_the_first_traceback_is_kept_when_the_exception_is_raised_again() -> None:
    """An action that lets it through is recorded with where it came from."""

    def through() -> None:
        raise again(chained())

    text = recorded_traceback(again(raised(through)))

    assert text is not None
    assert "in fail" in text
    assert "came back from the journal, and was raised again" in text
    assert "in through" in text


def local_error() -> BaseException:
    """An exception of a class that no name leads to."""

    class LocalError(Exception):
        pass

    error = LocalError("text", 1)
    error.__cause__ = ValueError("cause")
    return error


def test_an_exception_of_a_local_class_is_replaced() -> None:
    """Another process could not find it either, so the first sees what the second will."""
    back = again(local_error())

    assert isinstance(back, CallFailedError)
    assert f"{__name__}:local_error.<locals>.LocalError" == back.type_name
    assert "('text', 1)" == back.text
    assert "LocalError: ('text', 1)" in back.formatted_traceback
    assert isinstance(back.__cause__, ValueError)


def test_an_exception_whose_class_is_gone_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure stays a failure, with its type and text."""
    payload = CODEC.encode_failure(ExceptionGroup("g", [TwoArguments(1, "x")]), "w")
    monkeypatch.delattr(sys.modules[__name__], "TwoArguments")

    back: Any = CODEC.decode_failure(payload)

    assert type(back) is ExceptionGroup
    assert isinstance(back.exceptions[0], CallFailedError)
    assert str(back.exceptions[0]) == f"{__name__}:TwoArguments: 1: x"


def test_a_class_that_is_no_exception_any_more_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name now stands for something else."""
    payload = CODEC.encode_failure(TwoArguments(1, "x"), "w")
    for other in (int, len, type("Bare", (), {})):
        monkeypatch.setattr(sys.modules[__name__], "TwoArguments", other)

        assert isinstance(CODEC.decode_failure(payload), CallFailedError)


def test_an_exception_that_c_shapes_is_replaced() -> None:
    """No `__new__` but its own could make it, and that one wants arguments."""
    back = again(PydanticCustomError("kind", "text"))

    assert isinstance(back, CallFailedError)
    assert back.type_name == "pydantic_core._pydantic_core:PydanticCustomError"


def test_a_call_failed_error_comes_back_as_itself() -> None:
    """An action may let it through."""
    back = again(CallFailedError("a:B", "text", "trace"))

    assert isinstance(back, CallFailedError)
    assert ("a:B", "text", "trace") == (back.type_name, back.text, back.formatted_traceback)


class Part:
    """What only a pickle holds."""

    def __init__(self, value: int) -> None:
        self.value = value


class Fragile(Part):
    """A pickle that can be read only while the flag is up."""

    whole = True

    def __setstate__(self, state: dict[str, Any]) -> None:
        if not self.whole:
            raise RuntimeError("gone")
        self.__dict__ = state


def test_attributes_that_only_a_pickle_holds_come_back() -> None:
    """The payload says that it holds pickles."""
    error = ValueError(Part(1))
    error.part = [Part(2)]  # type: ignore[attr-defined]
    payload = CODEC.encode_failure(error, "w")

    back: Any = CODEC.decode_failure(payload)

    assert payload.encoding == "failure-pickle"
    assert (1, 2) == (back.args[0].value, back.part[0].value)


def test_pickled_parts_are_left_out_where_pickles_are_refused() -> None:
    """G13: nothing is unpickled; the failure comes back without them."""
    error = ValueError("x", Part(1))
    error.part = Part(2)  # type: ignore[attr-defined]
    payload = CODEC.encode_failure(error, "w")

    back: Any = DATA_ONLY.decode_failure(payload)
    relabelled: Any = CODEC.decode_failure(Payload("failure", payload.data))
    never: Any = again(error, DATA_ONLY)

    for each in (back, relabelled):
        assert each.args == ("x", "<not readable>")
        assert "attribute part could not be read: it is a pickle" in each.__notes__[1]
    assert never.args == ("x", str(error.args[1]))
    assert not hasattr(never, "part")


def test_a_pickled_part_that_cannot_be_read_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The code may have changed since; the failure must not become another one."""
    error = ValueError("x")
    error.part = Fragile(1)  # type: ignore[attr-defined]
    payload = CODEC.encode_failure(error, "w")
    monkeypatch.setattr(Fragile, "whole", False)

    back = CODEC.decode_failure(payload)

    assert back.__notes__ == ["durable_agents: attribute part could not be read: gone"]


def test_a_field_that_c_does_not_accept_is_left_out() -> None:
    """The payload may be forged, or written by a Python that has other fields."""
    members = {"start": "text", "no_such_field": 1, "reason": "why"}
    record = {"type": "builtins:UnicodeDecodeError", "members": members}

    back: Any = CODEC.decode_failure(Payload("failure", msgspec.msgpack.encode([record])))

    assert back.reason == "why"
    assert [note.split(":")[1] for note in back.__notes__] == [
        " attribute start could not be set",
        " attribute no_such_field could not be set",
    ]


def test_an_http_error_comes_back_with_its_response() -> None:
    """The author looks at the status code to decide what to do."""
    response = httpx.Response(404, json={"a": 1}, request=httpx.Request("GET", "http://x/"))
    error = raised(response.raise_for_status)

    back = again(error)

    assert isinstance(back, httpx.HTTPStatusError)
    assert str(error) == str(back)
    assert (404, {"a": 1}) == (back.response.status_code, back.response.json())
    assert "http://x/" == back.request.url


def test_an_http_error_without_pickles_says_what_it_lacks() -> None:
    """Its class still matches; the notes name what was dropped."""
    response = httpx.Response(404, request=httpx.Request("GET", "http://x/"))
    error = raised(response.raise_for_status)

    back = again(error, DATA_ONLY)

    assert isinstance(back, httpx.HTTPStatusError)
    assert str(error) == str(back)
    assert "attribute response (httpx.Response) was not recorded" in back.__notes__[1]


class Model(pydantic.BaseModel):
    a: int
    b: list[str] = []

    @pydantic.field_validator("a")
    @classmethod
    def check(cls, value: int) -> int:
        """Refuse two numbers, in the two ways that pydantic has."""
        if value == 7:
            raise ValueError("no seven")
        if value == 8:
            raise PydanticCustomError("own", "not {number}", {"number": 8})
        return value


@pytest.mark.parametrize(
    "act",
    [
        lambda: Model.model_validate({"a": "x", "b": [1]}),
        lambda: Model(a=7),
        lambda: Model(a=8),
        lambda: Model.model_validate_json('{"a": "x", "b": 3}'),
    ],
    ids=["types", "value error", "custom error", "json"],
)
def test_a_validation_error_comes_back(act: Callable[[], object]) -> None:
    """Models answer badly all the time; `except ValidationError` must match on replay."""
    error: Any = raised(act)

    back: Any = again(error, DATA_ONLY)

    assert isinstance(back, pydantic.ValidationError)
    assert (str(error), repr(error)) == (str(back), repr(back))
    assert error.error_count() == back.error_count()
    assert [one["loc"] for one in error.errors()] == [one["loc"] for one in back.errors()]


def test_an_input_that_cannot_be_recorded_is_kept_as_its_text() -> None:
    """What was wrong with it is still known."""
    lock: Any = threading.Lock()
    error = raised(lambda: Model(a=lock))

    back: Any = again(error)

    assert isinstance(back, pydantic.ValidationError)
    assert str(lock) == back.errors()[0]["input"]
    assert "attribute input (_thread.lock) was not recorded" in back.__notes__[0]


def test_an_exception_that_is_too_large_loses_what_it_holds() -> None:
    """Its class and the ends of its text stay."""
    codec = Codec(max_bytes=60_000, compress_above=None)
    error = TwoArguments(1, "reason " * 20_000)

    back = again(error, codec)

    assert isinstance(back, TwoArguments)
    assert back.code == 1
    assert str(back).startswith("1: reason reason")
    assert len(str(back)) < 1_100
    assert "is too large" in back.__notes__[0]


def test_a_validation_error_that_is_too_large_loses_its_inputs() -> None:
    """Models send long answers."""
    codec = Codec(max_bytes=60_000, compress_above=None)

    back: Any = again(raised(lambda: Model.model_validate({"a": "x" * 100_000})), codec)

    assert isinstance(back, pydantic.ValidationError)
    assert len(back.errors()[0]["input"]) < 1_100


def test_an_exception_that_is_too_large_without_its_parts_is_refused() -> None:
    """The error names the call."""
    with pytest.raises(PayloadTooLargeError, match="result of shop:charge"):
        again(ValueError("x"), Codec(max_bytes=10))


def test_failures_are_compressed_and_signed_like_values() -> None:
    """What cannot be verified is not decoded."""
    codec = Codec(secret=b"key")
    payload = codec.encode_failure(ValueError("x" * 50_000), "w")

    assert payload.encoding == "failure+zlib+hmac"
    assert str(codec.decode_failure(payload)) == "x" * 50_000
    with pytest.raises(DecodeError, match="not signed"):
        codec.decode_failure(CODEC.encode_failure(ValueError(), "w"))


def test_a_value_is_no_failure() -> None:
    """And a failure no value."""
    with pytest.raises(DecodeError, match="none of an exception's"):
        CODEC.decode_failure(CODEC.encode(1, "w"))
    with pytest.raises(DecodeError, match="none of a value's"):
        CODEC.decode(CODEC.encode_failure(ValueError(), "w"))
