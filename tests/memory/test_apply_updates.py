"""Whatever an action writes, the next one sees: both sides of a memory agree."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from durable_agents.journal import MemoryUpdate
from durable_agents.memory import MemoryObject, MemoryState, apply_updates
from durable_agents.serialization import Codec

CODEC = Codec()

names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, min_size=1, max_size=4).map(".".join)
writes = st.lists(
    st.tuples(st.sampled_from(["set", "object", "overwrite", "delete", "list"]), paths)
)


def memory(snapshot: Mapping[str, MemoryUpdate] | None = None) -> MemoryState:
    return MemoryState(snapshot or {}, CODEC, name="short_term", guard=lambda _: None)


def write(root: MemoryObject, verb: str, path: str) -> None:
    """One write; one that is refused has done nothing."""
    try:
        match verb:
            case "set":
                root.set(path, path)
            case "object":
                root.new_object(path)
            case "overwrite":
                root.new_object(path, overwrite=True)
            case "delete":
                root.delete(path)
            case _:
                root.get_field_names()
    except ValueError:
        pass


def tree(node: MemoryObject) -> dict[str, Any]:
    """All that can be seen."""
    return {
        name: tree(node.get(name)) if shown == "NestedObject" else shown
        for name, shown in node.get_fields().items()
    }


@given(before=writes, after=writes)
def test_applied_updates_give_the_memory_that_the_action_saw(
    before: list[tuple[str, str]], after: list[tuple[str, str]]
) -> None:
    """Over a snapshot and without one, listed in between or not."""
    first = memory()
    for verb, path in before:
        write(first.root, verb, path)
    snapshot = apply_updates({}, first.updates)
    second = memory(snapshot)
    for verb, path in after:
        write(second.root, verb, path)

    applied = apply_updates(snapshot, second.updates)

    assert tree(memory(applied).root) == tree(second.root)
    assert applied == apply_updates({}, [*first.updates, *second.updates])


@given(history=writes)
def test_each_path_above_another_is_an_object(history: list[tuple[str, str]]) -> None:
    """The invariant that reading and writing in constant time stand on."""
    written = memory()
    for verb, path in history:
        write(written.root, verb, path)

    applied = apply_updates({}, written.updates)

    for path in applied:
        above, _, _ = path.rpartition(".")
        assert not above or applied[above].kind == "object"
        assert applied[path].path == path
