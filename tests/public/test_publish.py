"""Published names say where a user finds them."""

import pickle
import sys
from types import ModuleType

import pytest

from durable_agents._exports import publish


class Receipt:
    """A class that lies in a private file: this one."""


def refund() -> None:
    """A function that lies beside it."""


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that re-exports the names."""
    door = ModuleType("shop")
    vars(door).update(Receipt=Receipt, refund=refund, LIMIT=3, Either=int | str)
    monkeypatch.setitem(sys.modules, "shop", door)
    for published in (Receipt, refund):
        monkeypatch.setattr(published, "__module__", published.__module__)
    return door


def test_classes_and_functions_name_the_door(door: ModuleType) -> None:
    """Tracebacks, `repr` and recorded references then survive a move of the private file."""
    publish(vars(door), ["Receipt", "refund"])

    assert ("shop", "shop") == (Receipt.__module__, refund.__module__)
    assert b"shop" in pickle.dumps(Receipt())


def test_constants_and_aliases_are_left_as_they_are(door: ModuleType) -> None:
    """They have no module of their own to name."""
    publish(vars(door), ["LIMIT", "Either"])

    assert (3, int | str) == (door.LIMIT, door.Either)


def test_a_name_that_is_listed_and_missing_is_an_error(door: ModuleType) -> None:
    """`__all__` may not promise what is not there."""
    with pytest.raises(KeyError, match="Refund"):
        publish(vars(door), ["Refund"])
