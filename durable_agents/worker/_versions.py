"""Versions of changes: which way a run goes where its code was changed under it.

A run that may have come by a place before the change was made goes the old way, any other one
the new way. That is decided once for each run and change, when the first action asks, and goes
on record with the next thing that the action records: before anything that depends on it. It
takes no place among the durable calls, so that to ask shifts none.
"""

from collections.abc import Iterable
from typing import Any, NoReturn, Protocol

from durable_agents.journal import CallLog, Entry, VersionMarked
from durable_agents.worker._lineage import Branch
from durable_agents.worker._services import Services

__all__ = ["check_versions", "version_of"]

_LARGEST = 2**63 - 1


class VersionedRun(Protocol):
    """What is needed of the run."""

    @property
    def versions(self) -> dict[str, int]:
        """By change, which version of it the run follows."""
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
    version = versions.get(change)
    if version is None:
        has_passed = scope.log.may_have_passed((branch.path, branch.next_position))
        version = versions[change] = old if has_passed else new
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
