"""The runs of an audit in its store: their ids, and what of them is on record."""

from collections.abc import AsyncIterator
from hashlib import blake2b

from durable_agents.cli._environment import Installed
from durable_agents.journal import CallSettled, place
from durable_agents.store import RunRow, Store

__all__ = ["latest_audit", "run_id", "settled_calls", "unfinished_count"]

_PAGE = 1000


def run_id(audit: int, package: Installed) -> str:
    """Id of the run that audits a package: another version or another place is another run."""
    where = blake2b(package.folder.encode(errors="surrogateescape"), digest_size=4).hexdigest()
    return f"audit-{audit}/{package.name}-{package.version}/{where}"


async def latest_audit(store: Store) -> int:
    """Number of the last audit that was begun in the store; 0 where none was."""
    return max([_audit_of(row) async for row in _runs(store)], default=0)


async def settled_calls(store: Store, audit: int) -> set[tuple[str, str]]:
    """Run id and call id of each call of an audit whose outcome is on record."""
    return {
        (row.run_id, f"{entry.action}:{place((entry.branch, entry.position))}")
        async for row in _runs(store)
        if _audit_of(row) == audit
        for _, entries in await store.journal(row.number)
        for entry in entries
        if isinstance(entry, CallSettled)
    }


async def unfinished_count(store: Store, audit: int) -> int:
    """How many runs of an audit have not ended."""
    return len([r async for r in _runs(store) if _audit_of(r) == audit and r.status.is_open])


async def _runs(store: Store) -> AsyncIterator[RunRow]:
    after = 0
    while rows := await store.runs(after=after, limit=_PAGE):
        for row in rows:
            yield row
        after = rows[-1].number


def _audit_of(row: RunRow) -> int:
    """Number of the audit that a run belongs to; 0 for a run of something else."""
    name, _, _ = row.run_id.partition("/")
    word, _, number = name.partition("-")
    return int(number) if word == "audit" and number.isdecimal() else 0
