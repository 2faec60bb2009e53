"""Declared classes: they come back whole, their code does not run, their fields may change."""

# ruff: noqa: ANN401 - values of any type

import sys
from collections.abc import Iterator
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from durable_agents.errors import DecodeError, EncodeError
from durable_agents.serialization import Codec

CODEC = Codec(pickle="refuse")
T = TypeVar("T")
constructed: list[str] = []


def ran(*_: object) -> None:
    """Note that code of a class ran."""
    constructed.append("ran")


@dataclass
class Basket:
    items: list[Any]
    total: float = 0.0
    seen: int = field(init=False)
    scale: InitVar[int] = 1
    currency: ClassVar[str] = "EUR"

    def __post_init__(self, scale: int) -> None:
        ran()
        self.seen = scale
        self._private = (1, 2)

    def __setattr__(self, name: str, value: object) -> None:
        ran()
        object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0

    def __post_init__(self) -> None:
        ran()


@dataclass(slots=True)
class Partial:
    x: int
    later: int = field(init=False)


@dataclass(frozen=True)
class Box(Generic[T]):
    content: T


class Child(Basket):
    """No dataclass of its own."""


@attrs.define
class Slotted:
    x: int
    _hidden: list[int] = attrs.Factory(list)
    __attrs_post_init__ = ran


@attrs.frozen(cache_hash=True)
class Hashed:
    name: str


@attrs.define(slots=False)
class Open:
    x: int = 1


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    name: str
    parts: tuple[int, ...] = ()
    _secret: set[int] = pydantic.PrivateAttr(default_factory=set)

    def model_post_init(self, _: object) -> None:
        ran()


class Struct(msgspec.Struct, frozen=True, kw_only=True, tag="s", cache_hash=True):
    x: int
    y: tuple[int, ...] = ()
    z: int | msgspec.UnsetType = msgspec.UNSET

    def __init_subclass__(cls, **_: Any) -> None:
        ran()

    def __post_init__(self) -> None:
        ran()


class Loose(msgspec.Struct, dict=True):
    x: Any


class Untracked(msgspec.Struct, gc=False, array_like=True):
    x: Any


class Held(msgspec.Struct, Generic[T]):
    content: T


def made(cls: Any, *args: Any, **more: Any) -> Any:
    """An instance with attributes of its own."""
    value = cls(*args)
    for name, part in more.items():
        setattr(value, name, part)
    return value


def model() -> Model:
    """A model that has everything a model may have."""
    value = Model(name="a", extra=(1, 2))  # type: ignore[call-arg]  # extra fields are allowed
    value._secret.add(5)  # noqa: SLF001 - pydantic knows private attributes by their name
    return value


VALUES = [
    Basket([1, (2,)], 2.5),
    made(Basket, [], total=1),
    Point(1, 2),
    Box((1,)),
    Box[int](1),
    Child([1]),
    Slotted(1, [2]),
    Hashed("a"),
    made(Open, other=(1,)),
    model(),
    Struct(x=1, y=(2,)),
    made(Loose, [1], other=(2,)),
    Untracked((1,)),
    Held[int](3),
    Held(Point(1)),
]
IDS = [f"{type(value).__name__} {number}" for number, value in enumerate(VALUES)]


@pytest.mark.rows("SE-13")
@pytest.mark.parametrize("value", VALUES, ids=IDS)
def test_an_instance_comes_back_without_its_code(value: Any) -> None:
    """Equal, of its class, with all its attributes; no constructor, hook or setter ran."""
    payload = CODEC.encode_data(value, "w")
    constructed.clear()

    decoded = CODEC.decode(payload)

    assert not constructed
    assert type(value) is type(decoded)
    assert value == decoded
    own = {k: v for k, v in getattr(value, "__dict__", {}).items() if k != "__orig_class__"}
    assert own == getattr(decoded, "__dict__", {})


def test_what_pydantic_keeps_apart_comes_back() -> None:
    """Which fields were set, the private and the extra ones."""
    decoded = CODEC.decode(CODEC.encode(model(), "w"))

    assert {"name", "extra"} == decoded.model_fields_set
    assert {5} == decoded._secret  # noqa: SLF001 - as above
    assert decoded.extra == (1, 2)


def test_a_rebuilt_struct_is_like_one_that_was_constructed() -> None:
    """It hashes, compares, encodes, and two of them share nothing."""
    payload = CODEC.encode(made(Loose, [1], other=1), "w")
    first, second = CODEC.decode(payload), CODEC.decode(payload)
    first.x.append(2)
    first.other = 2

    assert ([1], 1) == (second.x, second.other)
    assert hash(Struct(x=1)) == hash(CODEC.decode(CODEC.encode(Struct(x=1), "w")))
    assert b'{"type":"s","x":1,"y":[]}' == msgspec.json.encode(
        CODEC.decode(CODEC.encode(Struct(x=1), "w"))
    )


def test_a_field_that_was_never_set_stays_unset() -> None:
    """The replay must not see a value where there was none."""
    decoded = CODEC.decode(CODEC.encode(Partial(1), "w"))

    assert decoded.x == 1
    assert not hasattr(decoded, "later")


def test_a_struct_with_a_hole_is_refused() -> None:
    """msgspec cannot make one again."""
    holed = Loose(1)
    del holed.x

    with pytest.raises(EncodeError):
        CODEC.encode(holed, "w")


def test_a_cached_hash_is_not_recorded() -> None:
    """It holds in the process that took it only."""
    value = Hashed("a")
    hash(value)

    assert b"cached_hash" not in CODEC.encode(value, "w").data


class Meta(type(msgspec.Struct)):  # type: ignore[misc]  # a metaclass in C
    """A metaclass of the author's own would run."""


class Special(msgspec.Struct, metaclass=Meta):
    x: int


def test_a_struct_of_a_metaclass_of_ones_own_is_no_data() -> None:
    """Its instances are made by code of its author."""
    with pytest.raises(EncodeError):
        CODEC.encode(Special(1), "w")


@pytest.fixture
def module() -> Iterator[ModuleType]:
    """A module that is loaded and changes between two lives of a process."""
    module = ModuleType("changing_module")
    sys.modules[module.__name__] = module
    yield module
    sys.modules.pop(module.__name__, None)


def define(module: ModuleType, source: str) -> Any:
    """The class `Thing` as the module's source now defines it."""
    names = "from dataclasses import dataclass, field\nimport enum, msgspec, attrs, pydantic\n"
    exec(names + source, vars(module))  # noqa: S102 - the text of a new release
    return module.Thing


DATACLASS = "@dataclass\nclass Thing:\n  "
ATTRS = "@attrs.define\nclass Thing:\n  "
STRUCT = "class Thing(msgspec.Struct):\n  "
MODEL = "class Thing(pydantic.BaseModel):\n  "
PREFIXES = pytest.mark.parametrize("prefix", [DATACLASS, ATTRS, STRUCT, MODEL])


def test_a_combination_of_flags_comes_back_in_another_process(module: ModuleType) -> None:
    """There nobody has made that combination yet, and the author's `_missing_` does not run."""
    source = "class Thing(enum.Flag):\n  A = 1\n  B = 2"
    cls = define(module, source)
    payload = CODEC.encode(cls.A | cls.B, "w")
    define(module, f"{source}\n  _missing_ = classmethod(print)")

    decoded = CODEC.decode(payload)

    assert type(decoded) is module.Thing
    assert (3, True) == (decoded.value, module.Thing.A in decoded)


@PREFIXES
def test_a_field_that_a_class_gained_takes_its_plain_default(
    module: ModuleType, prefix: str
) -> None:
    """A new release with a new field must be able to replay an old journal."""
    old = define(module, f"{prefix}x: int")
    payload = CODEC.encode(old(x=1), "w")
    new = define(module, f"{prefix}x: int\n  y: str = 'new'\n  z: tuple = (1,)")

    assert new(x=1) == CODEC.decode(payload)


@pytest.mark.parametrize(
    "source",
    [
        f"{DATACLASS}x: int\n  y: list = field(default_factory=list)",
        f"{ATTRS}x: int\n  y: list = attrs.Factory(list)",
        f"{STRUCT}x: int\n  y: list = msgspec.field(default_factory=list)",
        f"{MODEL}x: int\n  y: list = pydantic.Field(default_factory=list)",
    ],
)
def test_a_field_that_a_class_gained_takes_an_empty_container(
    module: ModuleType, source: str
) -> None:
    """Factories that are builtin types run nothing of the author's."""
    payload = CODEC.encode(define(module, source.partition("\n  y")[0])(x=1), "w")
    define(module, source)

    first, second = CODEC.decode(payload), CODEC.decode(payload)

    assert [] == first.y
    assert first.y is not second.y


@pytest.mark.parametrize(
    "source",
    [
        f"{DATACLASS}x: int\n  y: int",
        f"{DATACLASS}x: int\n  y: object = field(default_factory=lambda: 1)",
        f"{ATTRS}x: int\n  y: int",
        f"{STRUCT}x: int\n  y: int",
        f"{MODEL}x: int\n  y: int",
    ],
)
def test_a_field_that_cannot_be_filled_is_named(module: ModuleType, source: str) -> None:
    """Rather a clear error than an instance with a hole."""
    payload = CODEC.encode(define(module, source.partition("\n  y")[0])(x=1), "w")
    define(module, source)

    with pytest.raises(
        DecodeError, match=r"Thing gained the field 'y'.*give it a plain default"
    ):
        CODEC.decode(payload)


@pytest.mark.parametrize("prefix", [ATTRS, STRUCT])
def test_a_field_that_a_class_lost_is_left_out(module: ModuleType, prefix: str) -> None:
    """As msgspec and others do with fields that they do not know."""
    payload = CODEC.encode(define(module, f"{prefix}x: int\n  y: int = 2")(1), "w")
    new = define(module, f"{prefix}x: int")

    assert new(1) == CODEC.decode(payload)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{DATACLASS}x: int", "class Thing:\n  x = 1"),
        (f"{DATACLASS}x: int", f"{STRUCT}x: int"),
        (f"{DATACLASS}x: int", "Thing = len"),
        (f"{STRUCT}x: int", f"{DATACLASS}x: int"),
        ("class Thing(int): pass", "class Thing: pass"),
        ("class Thing(int): pass", "class Thing(str): pass"),
        ("class Thing(int): pass", "class Thing(int, enum.Enum): A = 1"),
        ("class Thing(enum.Enum): A = 1", "class Thing: pass"),
        ("class Thing(enum.Enum): A = 1", "class Thing(enum.Enum): B = 1"),
        ("class Thing(enum.Flag): A = 1; B = 2", "class Thing(enum.Enum): A = 1"),
        (
            "class Thing(enum.Flag): A = 1; B = 2",
            "class Thing(enum.Flag, boundary=enum.STRICT): A = 1",
        ),
        (
            "class Thing(enum.IntFlag): A = 1; B = 2",
            "class Thing(enum.IntFlag, boundary=enum.EJECT): A = 1",
        ),
    ],
)
def test_a_class_must_be_what_the_payload_says(
    module: ModuleType, before: str, after: str
) -> None:
    """A forged payload cannot make instances of arbitrary classes."""
    cls = define(module, before)
    value = 3 if issubclass(cls, int) or hasattr(cls, "B") else 1
    payload = CODEC.encode(cls(value), "w")
    define(module, after)

    with pytest.raises(DecodeError):
        CODEC.decode(payload)


def test_a_class_that_is_not_loaded_is_named_and_not_imported(module: ModuleType) -> None:
    """G13: decoding never imports; the message says what to do."""
    payload = CODEC.encode(define(module, f"{DATACLASS}x: int")(1), "w")
    del sys.modules["changing_module"]

    with pytest.raises(DecodeError, match="no class changing_module:Thing is loaded: import"):
        CODEC.decode(payload)


class Lazy(ModuleType):
    """A module that loads what it is asked for."""

    def __getattribute__(self, name: str) -> Any:
        pytest.fail(f"asked for {name}")


def test_looking_a_class_up_does_not_wake_a_lazy_module(module: ModuleType) -> None:
    """Asking it in the usual way would import."""
    payload = CODEC.encode(define(module, f"{DATACLASS}x: int")(1), "w")
    sys.modules["changing_module"] = Lazy("changing_module")

    with pytest.raises(DecodeError, match="is loaded"):
        CODEC.decode(payload)


class Outer:
    @dataclass
    class Inner:
        x: int


def test_a_nested_class_is_found_by_its_qualified_name() -> None:
    """`Outer.Inner` is a name that leads to it."""
    assert Outer.Inner(1) == CODEC.decode(CODEC.encode(Outer.Inner(1), "w"))


@dataclass(frozen=True)
class Cached:
    x: int

    @cached_property
    def double(self) -> int:
        return 2 * self.x


def test_a_cached_property_comes_back_as_it_was() -> None:
    """It is part of what the instance holds."""
    value = Cached(2)
    assert value.double == 4

    assert vars(value) == vars(CODEC.decode(CODEC.encode(value, "w")))
