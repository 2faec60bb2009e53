"""One memory as one action sees it, verb by verb."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest

from durable_agents.errors import OutsideActionError
from durable_agents.journal import MemoryUpdate
from durable_agents.memory import (
    MemoryName,
    MemoryObject,
    MemoryRef,
    MemoryState,
    apply_updates,
)
from durable_agents.serialization import Codec

CODEC = Codec()


class Profile(msgspec.Struct):
    tier: str


@dataclass
class Point:
    x: int


def allow(verb: str) -> None:
    assert verb.startswith("memory.")


def state(
    snapshot: Mapping[str, MemoryUpdate] | None = None, name: MemoryName = "short_term"
) -> MemoryState:
    return MemoryState(snapshot or {}, CODEC, name=name, guard=allow)


def memory() -> MemoryObject:
    return state().root


def log(written: MemoryState) -> list[tuple[str, Any]]:
    """Updates as path and value; objects and deletions have none."""
    return [
        (u.path, CODEC.decode(u.payload) if u.payload is not None else u.kind)
        for u in written.updates
    ]


@pytest.mark.rows("ME-02", "ME-08")
def test_a_new_object_comes_with_the_objects_above_it() -> None:
    """No prefix of a path is ever missing."""
    root = memory()

    made = root.new_object("x.y.z")
    made.set("k", 1)

    assert all(root.is_exist(path) for path in ("x", "x.y", "x.y.z", "x.y.z.k"))
    assert root.get_fields() == {"x": "NestedObject"}
    assert repr(made) == "<MemoryObject short_term:x.y.z>"


@pytest.mark.rows("ME-03")
def test_a_deep_value_comes_with_the_objects_above_it() -> None:
    """They can be listed and gone through."""
    root = memory()
    root.set("a.c", 1)
    root.set("a.b.c.d.e", "deep")

    assert root.get("a.b.c.d.e") == "deep"
    assert root.get("a").get("b").get("c.d.e") == "deep"
    assert root.get("a").get_field_names() == ["b", "c"]
    assert root.get("a.b").get_field_names() == ["c"]


@pytest.mark.rows("ME-04")
def test_fields_are_listed_with_their_values() -> None:
    """By name in sorted order, which every store and every replay gives."""
    root = memory()
    root.set("y", 2)
    root.set("x", 1)
    root.new_object("obj")

    assert root.get_field_names() == ["obj", "x", "y"]
    assert root.get_fields() == {"x": 1, "y": 2, "obj": "NestedObject"}
    assert root.get("obj").get_field_names() == []


@pytest.mark.rows("ME-05")
def test_a_value_does_not_replace_an_object() -> None:
    """All that lies below would be lost in silence."""
    written = state()
    written.root.new_object("conflict")

    with pytest.raises(ValueError, match="an object lies at 'conflict'"):
        written.root.set("conflict", 1)

    assert log(written) == [("conflict", "object")]


@pytest.mark.parametrize("path", ["scalar.k", "scalar.k.m"])
def test_nothing_is_set_below_a_value(path: str) -> None:
    """A value is not an object, even if it is a dictionary."""
    root = memory()
    root.set("scalar", {"k": 1})

    with pytest.raises(ValueError, match="a value lies at 'scalar'"):
        root.set(path, 1)
    with pytest.raises(ValueError, match="a value lies at 'scalar'"):
        root.new_object(path)

    assert not root.is_exist(path)


@pytest.mark.rows("ME-06")
def test_an_object_replaces_a_value_only_when_told_to() -> None:
    """Then its fields can be reached."""
    root = memory()
    root.set("scalar", 1)

    with pytest.raises(ValueError, match="pass overwrite=True"):
        root.new_object("scalar")
    root.new_object("scalar", overwrite=True).set("k", 2)

    assert root.get("scalar.k") == 2


def test_a_new_object_over_an_object_leaves_it_unless_told_to_empty_it() -> None:
    """Asking for an object twice is common, emptying one is not."""
    written = state()
    written.root.set("a.b.c", 1)

    assert written.root.new_object("a").get("b.c") == 1
    assert log(written) == [("a.b.c", 1)]

    assert len(written.root.new_object("a", overwrite=True)) == 0
    assert not written.root.is_exist("a.b")


@pytest.mark.rows("ME-07")
def test_existence_is_asked_without_an_error() -> None:
    """Missing parents are an answer, too."""
    root = memory()
    root.set("exist", None)

    assert root.is_exist("exist")
    assert not root.is_exist("not.exist")
    assert not root.is_exist("exist.below")


@pytest.mark.rows("ME-09")
def test_each_write_is_one_update_in_order() -> None:
    """Objects are logged, the parents that a path implies are not."""
    written = state()
    root = written.root
    root.set("str", "hello")
    below = root.new_object("str", overwrite=True)
    below.set("test", 100)
    new = below.new_object("new_str")
    new.set("int", 42)
    new.set("str", "world")

    assert log(written) == [
        ("str", "hello"),
        ("str", "object"),
        ("str.test", 100),
        ("str.new_str", "object"),
        ("str.new_str.int", 42),
        ("str.new_str.str", "world"),
    ]


@pytest.mark.rows("ME-10")
def test_writes_go_before_the_snapshot_and_leave_it_alone() -> None:
    """Nothing is written before the action completes."""
    before = state()
    before.root.set("k1", "old")
    before.root.set("k2", "old")
    snapshot = apply_updates({}, before.updates)
    kept = dict(snapshot)

    written = state(snapshot)
    written.root.set("k1", "new")

    assert written.root.get_fields() == {"k1": "new", "k2": "old"}
    assert snapshot == kept
    assert list(written.changes) == ["k1"]
    after = state(apply_updates(snapshot, written.updates)).root
    assert after.get_fields() == {"k1": "new", "k2": "old"}


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, 2.5, "text", b"bytes", [1, [2]], {"a": {"b": [1]}}),
        *((1, 2), {1, 2}, Profile("gold"), Point(1), UUID(int=4)),
    ],
)
@pytest.mark.rows("ME-11", "ME-16", "ME-17")
def test_a_value_comes_back_equal_by_path_and_by_reference(value: object) -> None:
    """Type included, for all that is recorded without a pickle."""
    root = memory()

    ref = root.set("a.b", value)

    assert ref == MemoryRef("short_term", "a.b")
    assert root.get("a.b") == root.get(ref) == root["a.b"] == value
    assert type(root.get(ref)) is type(value)


class Memories(NamedTuple):
    sensory_memory: MemoryObject
    short_term_memory: MemoryObject


@pytest.mark.rows("ME-12")
def test_a_reference_knows_its_memory() -> None:
    """It may travel in an event and be resolved by another action."""
    ctx = Memories(state(name="sensory").root, state().root)
    refs = [ctx.sensory_memory.set("a", "fleeting"), ctx.short_term_memory.set("a", "kept")]

    assert [ref.resolve(ctx) for ref in refs] == ["fleeting", "kept"]
    assert CODEC.decode(CODEC.encode_data(refs[0], "ref")) == refs[0]
    with pytest.raises(ValueError, match=r"not in short_term memory; use its resolve\(ctx\)"):
        ctx.short_term_memory.get(refs[0])


@pytest.mark.rows("ME-13", "ME-14")
def test_a_reference_counts_from_the_root() -> None:
    """Whatever object it is handed to; to an object it gives the object, to nothing None."""
    root = memory()
    root.set("a.b.c", 10)

    assert root.get("a").get(MemoryRef("short_term", "a")).get("b.c") == 10
    assert root.get(MemoryRef("short_term", "missing")) is None


@pytest.mark.rows("ME-17", "ME-18")
def test_a_value_that_needs_a_pickle_is_a_type_error_that_leads_to_it() -> None:
    """Nothing is written."""
    written = state()

    with pytest.raises(TypeError, match=r"memory value 'a'.*\[2\]\['bad'\]"):
        written.root.set("a", [1, 2, {"bad": object()}])

    assert written.updates == []


@pytest.mark.rows("ME-19")
def test_an_object_is_no_value() -> None:
    """It would be a second name for one place."""
    root = memory()

    with pytest.raises(TypeError, match="make one there by new_object"):
        root.set("a", root.new_object("b"))


def test_a_value_is_taken_when_it_is_set_and_copied_when_it_is_read() -> None:
    """What the action does to it in between changes no memory."""
    root = memory()
    value = [1]
    root.set("a", value)
    value.append(2)
    root.get("a").append(3)

    assert root.get("a") == [1]


def test_a_missing_path_gives_the_default() -> None:
    """None, unless another one is handed in."""
    root = memory()

    assert root.get("a") is None
    assert root.get("a.b", 3) == 3
    assert root.get("a", Profile("none"), Profile) == Profile("none")


@pytest.mark.parametrize("value", [{"tier": "gold"}, Profile("gold")])
def test_a_type_says_what_the_value_is_made_into(value: object) -> None:
    """An instance of it passes as it is."""
    root = memory()
    root.set("a", value)

    assert root.get("a", type=Profile) == Profile("gold")


def test_an_instance_of_a_foreign_class_passes_its_type() -> None:
    """Also where msgspec would ask for a dictionary."""
    root = memory()
    root.set("a", Point(1))

    assert root.get("a", type=Point) == Point(1)


def test_a_value_that_does_not_fit_the_type_is_refused() -> None:
    """The text names path, type and field."""
    root = memory()
    root.set("a", {"tier": 3})

    with pytest.raises(ValueError, match=r"'a' is not a .*Profile.*Expected `str`.*`\$.tier`"):
        root.get("a", type=Profile)


def test_deleting_removes_the_path_and_all_below_it() -> None:
    """The object above stays, and what was deleted is made anew without a trace."""
    written = state()
    root = written.root
    root.set("a.b.c", 1)
    root.set("a.b.d.e", 1)
    root.delete("a.b")

    assert root.get("a").get_field_names() == []
    assert not root.is_exist("a.b.d.e")

    root.set("a.b.x", 2)
    assert root.get("a.b").get_fields() == {"x": 2}
    assert log(written)[2:] == [("a.b", "deleted"), ("a.b.x", 2)]
    gone = {path for path, update in written.changes.items() if update is None}
    assert gone == {"a.b.c", "a.b.d", "a.b.d.e"}


def test_deleting_what_is_not_there_writes_nothing() -> None:
    """It is as it should be already."""
    written = state()
    written.root.delete("a.b")

    assert written.updates == []


def test_a_listing_follows_later_writes() -> None:
    """Whatever had been listed before them."""
    root = memory()
    root.set("a", 1)
    assert root.get_field_names() == ["a"]

    root.set("b.c", 1)
    root.delete("a")

    assert root.get_fields() == {"b": "NestedObject"}


def test_an_object_is_used_as_a_mapping_of_its_fields() -> None:
    """The way a dictionary is."""
    root = memory()
    root["user.tier"] = "gold"
    root["n"] = 1

    assert root["user.tier"] == "gold"
    assert "user.tier" in root
    assert "user.name" not in root
    assert 3 not in root
    assert list(root) == ["n", "user"]
    assert len(root) == 2

    del root["user.tier"]
    assert len(root["user"]) == 0
    with pytest.raises(KeyError, match=r"user\.tier"):
        root["user.tier"]
    with pytest.raises(KeyError, match=r"user\.tier"):
        del root["user.tier"]


@pytest.mark.parametrize("path", ["", ".a", "a.", "a..b"])
def test_a_path_without_a_name_in_each_part_is_refused(path: str) -> None:
    """It would be another path after a restart, or none."""
    root = memory()

    with pytest.raises(ValueError, match="is not a memory path"):
        root.set(path, 1)
    with pytest.raises(ValueError, match="is not a memory path"):
        root.get(path)


def test_every_verb_asks_the_guard_before_anything_is_done() -> None:
    """Inside a durable function and after the action nothing is read or written."""
    refused: list[str] = []

    def refuse(verb: str) -> None:
        refused.append(verb)
        raise OutsideActionError(verb, "the action has ended")

    written = MemoryState({}, CODEC, name="sensory", guard=refuse)
    root = written.root
    verbs: list[Callable[[], object]] = [
        lambda: root.get(""),
        lambda: root.set("", 1),
        lambda: root.delete(""),
        lambda: root.new_object(""),
        lambda: root.is_exist(""),
        root.get_field_names,
        root.get_fields,
        lambda: root["a"],
        lambda: root.__setitem__("", 1),
        lambda: root.__delitem__("a"),
        lambda: "a" in root,
        lambda: list(root),
        lambda: len(root),
    ]
    for verb in verbs:
        with pytest.raises(OutsideActionError):
            verb()

    assert len(refused) == len(verbs)
    assert set(refused) == {
        "memory.get",
        "memory.set",
        "memory.delete",
        "memory.new_object",
        "memory.is_exist",
        "memory.get_field_names",
        "memory.get_fields",
    }
    assert written.updates == []
