"""Sensory and short-term memory as one action sees them: a snapshot, and writes kept back.

Rule 1: reading and writing never touch the store; the updates go with the action's completion,
all or nothing. Rule 2: values are encoded when they are set and decoded anew by each read: what
the action changes in its hands afterwards changes no memory. Rule 3: an update means the same
here and in `apply_updates`, since both go through `Layers.apply`.

    verb                  path holds nothing   a value               an object
    -------------------   ------------------   -------------------   --------------------------
    get                   the default          a fresh copy of it    a `MemoryObject` at it
    set                   makes the parents    replaces it           ValueError
    new_object            makes the parents    ValueError            leaves it as it is
    new_object overwrite  makes the parents    replaces it           empties it
    delete                nothing to do        removes it            removes it and all below
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, overload

import msgspec

from durable_agents.errors import EncodeError
from durable_agents.journal import MemoryUpdate
from durable_agents.memory._layers import Layers, joined, parents
from durable_agents.serialization import Codec, Payload

__all__ = ["MemoryName", "MemoryObject", "MemoryRef", "MemoryState"]

T = TypeVar("T")

MemoryName: TypeAlias = Literal["sensory", "short_term"]

_NESTED_OBJECT = "NestedObject"


class MemoryRef(msgspec.Struct, frozen=True):
    """Where a value lies in a memory; small enough to be sent in an event instead of it."""

    memory: MemoryName
    path: str
    """Dotted path from the root of the memory."""

    def resolve(self, ctx: "_HasMemories") -> Any:  # noqa: ANN401 - memory holds any type
        """What lies there now, a `MemoryObject` for an object; None where nothing does.

        Args:
            ctx: The runner context of the action that asks.
        """
        is_sensory = self.memory == "sensory"
        return (ctx.sensory_memory if is_sensory else ctx.short_term_memory).get(self)


class MemoryState:
    """One memory as one action sees it: what it was at the start, and the action's own writes.

    Args:
        snapshot: The memory at the start of the action, as `apply_updates` made it. Neither
            copied nor changed; it must stay as it is while the action runs.
        codec: How values become payloads and come back.
        name: Which memory it is; its references say so.
        guard: Told each verb before anything is done; raises where it is not allowed.
    """

    __slots__ = ("_codec", "_guard", "_layers", "_updates", "name")

    def __init__(
        self,
        snapshot: Mapping[str, MemoryUpdate],
        codec: Codec,
        *,
        name: MemoryName,
        guard: Callable[[str], None],
    ) -> None:
        self.name: MemoryName = name
        self._codec = codec
        self._guard = guard
        self._layers = Layers(snapshot)
        self._updates: list[MemoryUpdate] = []

    @property
    def updates(self) -> list[MemoryUpdate]:
        """The writes of the action so far, in order; parents that they imply are not listed."""
        return self._updates.copy()

    @property
    def changes(self) -> Mapping[str, MemoryUpdate | None]:
        """What the writes came to, by path; None: the path is gone."""
        return self._layers.changed

    @property
    def root(self) -> "MemoryObject":
        """The memory as its author uses it."""
        return MemoryObject(self, "")

    def check(self, verb: str) -> None:
        """Ask whether the action may use its memory here and now."""
        self._guard(f"memory.{verb}")

    def find(self, path: str) -> MemoryUpdate | None:
        """The update that set a path, or None where nothing is."""
        return self._layers.find(path)

    def names_below(self, path: str) -> list[str]:
        """Names directly below an object, sorted: the same from every store."""
        return sorted(self._layers.names_below(path))

    def write(self, update: MemoryUpdate) -> None:
        """Make one change, to be committed when the action completes."""
        self._layers.apply(update)
        self._updates.append(update)

    def encoded(self, path: str, value: object) -> Payload:
        """The value as it will be recorded.

        Raises:
            TypeError: Memory cannot represent it; the text leads to the part in the way.
        """
        if isinstance(value, MemoryObject):
            msg = f"a MemoryObject is no value for {path!r}; make one there by new_object"
            raise TypeError(msg)
        try:
            return self._codec.encode_data(value, f"memory value {path!r}")
        except EncodeError as error:
            raise TypeError(str(error)) from error

    def value(self, update: MemoryUpdate) -> Any:  # noqa: ANN401 - memory holds any type
        """What an update set: a fresh copy of its value, or the object."""
        if update.payload is None:
            return MemoryObject(self, update.path)
        return self._codec.decode(update.payload)


class MemoryObject:
    """A place in a memory: values and further objects below it, by dotted path.

    It is also used as a mapping of its own fields: `memory["user.tier"]`, `"user" in memory`,
    `del memory["user"]`, iteration over the field names, `len`.

    Each verb raises `ForbiddenInDurableCallError` inside a durable function and
    `OutsideActionError` where its action does not run, and ValueError for a path that is empty
    or has an empty part.
    """

    __slots__ = ("_path", "_state")

    def __init__(self, state: MemoryState, path: str) -> None:
        self._state = state
        self._path = path

    def __repr__(self) -> str:
        return f"<MemoryObject {self._state.name}:{self._path}>"

    @overload
    def get(
        self,
        path: str | MemoryRef,
        default: object = None,
        type: None = None,
    ) -> Any: ...  # noqa: ANN401
    @overload
    def get(
        self,
        path: str | MemoryRef,
        default: None = None,
        *,
        type: type[T],
    ) -> T | None: ...
    @overload
    def get(
        self,
        path: str | MemoryRef,
        default: T,
        type: type[T],
    ) -> T: ...
    def get(
        self,
        path: str | MemoryRef,
        default: object = None,
        type: Any = None,  # noqa: A002 - the public name
    ) -> Any:
        """What lies at a path: a copy of the value, or a `MemoryObject` for an object.

        Args:
            path: Dotted path from here; or a reference, which counts from the root.
            default: Returned where nothing lies.
            type: What the value is made into; None leaves it as it was set.

        Raises:
            ValueError: The value does not fit `type`, or the reference is to another memory.
        """
        self._state.check("get")
        update = self._state.find(self._resolved(path))
        if update is None:
            return default
        value = self._state.value(update)
        return value if type is None else _converted(value, type, update.path)

    def set(self, path: str, value: object) -> MemoryRef:
        """Set a value, and make the objects above it; returns the reference to it.

        Args:
            path: Dotted path from here.
            value: Anything that can be recorded without a pickle. It is taken as it is now.

        Raises:
            TypeError: The value cannot be recorded so; nothing was written.
            PayloadTooLargeError: It is larger than the store accepts; nothing was written.
            ValueError: An object lies at the path, or a value above it.
        """
        self._state.check("set")
        target = self._writable(path)
        found = self._state.find(target)
        if found is not None and found.kind == "object":
            msg = f"an object lies at {target!r}; delete it before setting a value there"
            raise ValueError(msg)
        payload = self._state.encoded(target, value)
        self._state.write(MemoryUpdate(target, "value", payload))
        return MemoryRef(self._state.name, target)

    def delete(self, path: str) -> None:
        """Remove what lies at a path, and all below it; nothing to do where nothing lies."""
        self._state.check("delete")
        target = self._resolved(path)
        if self._state.find(target) is not None:
            self._state.write(MemoryUpdate(target, "deleted"))

    def new_object(self, path: str, overwrite: bool = False) -> "MemoryObject":  # noqa: FBT001, FBT002 - the public signature
        """The object at a path, made where nothing lies, with the objects above it.

        Args:
            path: Dotted path from here.
            overwrite: Replace a value that lies there, or empty an object.

        Raises:
            ValueError: A value lies at the path and `overwrite` is False, or a value above it.
        """
        self._state.check("new_object")
        target = self._writable(path)
        found = self._state.find(target)
        if found is not None and found.kind == "value" and not overwrite:
            msg = f"a value lies at {target!r}; pass overwrite=True to replace it"
            raise ValueError(msg)
        if found is None or overwrite:
            self._state.write(MemoryUpdate(target, "object"))
        return MemoryObject(self._state, target)

    def is_exist(self, path: str) -> bool:
        """Whether a value or an object lies at a path."""
        self._state.check("is_exist")
        return self._state.find(self._resolved(path)) is not None

    def get_field_names(self) -> list[str]:
        """Names of the values and objects directly here, sorted."""
        self._state.check("get_field_names")
        return self._state.names_below(self._path)

    def get_fields(self) -> dict[str, Any]:
        """Values directly here by name; an object is shown as `"NestedObject"`."""
        self._state.check("get_fields")
        fields: dict[str, Any] = {}
        for name in self._state.names_below(self._path):
            update = self._state.find(joined(self._path, name))
            assert update is not None  # what is listed is there
            nested = update.kind == "object"
            fields[name] = _NESTED_OBJECT if nested else self._state.value(update)
        return fields

    def __getitem__(self, path: str) -> Any:  # noqa: ANN401 - memory holds any type
        self._state.check("get")
        update = self._state.find(self._resolved(path))
        if update is None:
            raise KeyError(path)
        return self._state.value(update)

    def __setitem__(self, path: str, value: object) -> None:
        self.set(path, value)

    def __delitem__(self, path: str) -> None:
        if not self.is_exist(path):
            raise KeyError(path)
        self.delete(path)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.is_exist(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self.get_field_names())

    def __len__(self) -> int:
        return len(self.get_field_names())

    def _resolved(self, path: str | MemoryRef) -> str:
        """The path from the root."""
        if isinstance(path, str):
            return joined(self._path, _checked(path))
        if path.memory != self._state.name:
            msg = f"{path} is not in {self._state.name} memory; use its resolve(ctx)"
            raise ValueError(msg)
        return path.path

    def _writable(self, path: str) -> str:
        """The path from the root, once no value lies above it."""
        target = self._resolved(path)
        for above in parents(target):
            found = self._state.find(above)
            if found is None:
                continue
            if found.kind == "value":
                msg = f"a value lies at {above!r}, so nothing can be set below it at {target!r}"
                raise ValueError(msg)
            break  # above an object there are objects only
        return target


class _HasMemories(Protocol):
    """What a reference needs of the runner context."""

    @property
    def sensory_memory(self) -> MemoryObject: ...
    @property
    def short_term_memory(self) -> MemoryObject: ...


def _checked(path: str) -> str:
    if not path or path[0] == "." or path[-1] == "." or ".." in path:
        msg = (
            f"{path!r} is not a memory path, expected names joined by dots such as 'user.tier'"
        )
        raise ValueError(msg)
    return path


def _converted(value: Any, wanted: Any, path: str) -> Any:  # noqa: ANN401 - memory holds any type
    if _is_instance(value, wanted):
        return value
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        msg = f"the value at {path!r} is not a {wanted}: {error}"
        raise ValueError(msg) from error


# Instances pass: msgspec takes a dictionary for a dataclass, and not a dataclass.
def _is_instance(value: object, wanted: Any) -> bool:  # noqa: ANN401 - any type can be asked for
    return isinstance(wanted, type) and isinstance(value, wanted)
