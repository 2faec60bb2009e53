"""Versions of changes: which way a run goes where its code was changed under it.

A run that may have come by a place before the change was made goes the old way, any other one
the new way. That is decided once for each run and change, when the first action asks, and goes
on record with the next thing that the action records: before anything that depends on it. It
takes no place among the durable calls, so that to ask shifts none.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NoReturn, Protocol

from durable_agents.journal import CallLog, Entry, RunState, VersionMarked
from durable_agents.worker._lineage import Branch
from durable_agents.worker._services import Services

__all__ = ["Versions", "check_versions", "version_of"]

_LARGEST = 2**63 - 1


class Versions:
    """Which version of each change a run follows, and what today's code has asked of that.

    Args:
        state: What is on record of the run; None: nothing.
    """

    __slots__ = ("_asked", "_marked_by", "_told_old", "_versions")

    def __init__(self, state: RunState | None) -> None:
        self._versions = {} if state is None else dict(state.versions)
        self._marked_by = {} if state is None else dict(state.marked_by)
        self._asked: set[str] = set()
        self._told_old: set[str] = set()

    def ask(self, change: str) -> int | None:
        """Which version the run follows; None where that is still to be decided."""
        self._asked.add(change)
        return self._versions.get(change)

    def decide(self, change: str, version: int, action: int, *, is_old: bool) -> None:
        """The run follows this version from now on.

        Args:
            change: Name of the change.
            version: Of it.
            action: Number of the action that asked.
            is_old: Whether it may have come by before the change was made.
        """
        self._versions[change] = version
        self._marked_by[change] = action
        if is_old:
            self._told_old.add(change)

    def reasons(self, action: int) -> Iterator[str]:
        """What may be the reason that the code of an action does not repeat its record."""
        for change, version in list(self._versions.items()):  # threads ask, too
            if self._marked_by[change] != action:
                continue
            if change not in self._asked:
                yield (
                    f"the run follows version {version} of change {change!r}, and the code has "
                    "not asked for that by here: was the question removed or renamed too early?"
                )
            elif change in self._told_old:
                yield (
                    f"the run was told version {version} of change {change!r}, since it may "
                    "have come by before the change was made"
                )


class VersionedRun(Protocol):
    """What is needed of the run."""

    @property
    def versions(self) -> "Versions":
        """Which versions of changes it follows."""
        ...


class VersionedScope(Protocol):
    """What is needed of the action run."""

    number: int
    log: CallLog
    services: Services

    @property
    def run(self) -> VersionedRun:
        """The run that it belongs to."""
        ...

    def add_to_next_record(self, entries: Iterable[Entry]) -> None:
        """Record entries together with the next one."""
        ...

    def park(self, reason: str) -> NoReturn:
        """Stop the run until a person decides."""
        ...


def version_of(scope: VersionedScope, branch: Branch, change: str, old: int, new: int) -> int:
    """Which version of a change the run follows; decided here where nobody has asked before.

    Args:
        scope: The action run.
        branch: Where it is asked.
        change: Name of the change.
        old: The oldest version that the code supports.
        new: The newest one.
    """
    versions = scope.run.versions
    version = versions.ask(change)
    if version is None:
        has_passed = scope.log.may_have_passed((branch.path, branch.next_position))
        version = old if has_passed else new
        versions.decide(change, version, scope.number, is_old=has_passed)
        now = scope.services.clock.now()
        mark = VersionMarked(scope.number, branch.path, change, version, now)
        scope.add_to_next_record([mark])
    elif not old <= version <= new:
        supported = f"only {new}" if old == new else f"{old} to {new}"
        scope.park(
            f"the run follows version {version} of change {change!r}, and the code supports "
            f"{supported}: retry the run with code that supports {version}, or cancel it"
        )
    return version


def check_versions(change: Any, old: Any, new: Any) -> None:
    """Refuse what names no change.

    Raises:
        TypeError: The name is no text, or a version is no whole number.
        ValueError: The name is empty, the old version is above the new one, or one of them does
            not fit into 64 bits.
    """
    # What is not checked here would be on record, and no journal that holds it could be read.
    if not isinstance(change, str) or not all(type(version) is int for version in (old, new)):
        msg = f"version takes a name and two whole numbers, got {change!r}, {old!r}, {new!r}"
        raise TypeError(msg)
    if not change:
        msg = "version takes the name of a change, got an empty one"
        raise ValueError(msg)
    if max(abs(old), abs(new)) > _LARGEST:
        msg = f"a version of {change!r} is too large to be recorded"
        raise ValueError(msg)
    if old > new:
        msg = f"version of {change!r} takes the old version first, got {old} and {new}"
        raise ValueError(msg)
