"""The runs of an audit in its store: their ids, and what of them is on record."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b

from durable_agents.cli._environment import Installed
from durable_agents.journal import ActionStarted, CallSettled, Entry, call_id
from durable_agents.store import Store, every_run

__all__ = ["audit_of", "latest_audit", "run_id_of", "settled_calls", "unfinished_count"]


def run_id_of(audit: int, package: Installed) -> str:
    """Id of the run that audits a package: another version or another place is another run."""
    where = blake2b(package.folder.encode(errors="surrogateescape"), digest_size=4).hexdigest()
    return f"audit-{audit}/{package.name}-{package.version}/{where}"


def audit_of(run_id: str) -> int:
    """Number of the audit that a run belongs to; 0 for a run of something else."""
    name, _, _ = run_id.partition("/")
    word, _, number = name.partition("-")
    return int(number) if word == "audit" and number.isdecimal() else 0


async def latest_audit(store: Store) -> int:
    """Number of the last audit that was begun in the store; 0 where none was."""
    return max([audit_of(row.run_id) async for row in every_run(store)], default=0)


async def settled_calls(store: Store, audit: int) -> set[tuple[str, str]]:
    """Run id and call id, as `current_call` has them, of each settled call of an audit."""
    return {
        (row.run_id, call_id)
        async for row in every_run(store)
        if audit_of(row.run_id) == audit
        for call_id in _settled(await store.journal(row.number))
    }


def _settled(rows: Sequence[tuple[int, Sequence[Entry]]]) -> Iterator[str]:
    actions: dict[int, ActionStarted] = {}
    for entry in (entry for _, entries in rows for entry in entries):
        if isinstance(entry, ActionStarted):
            actions[entry.action] = entry
        elif isinstance(entry, CallSettled):
            started = actions[entry.action]
            yield call_id(started.event, started.name, (entry.branch, entry.position))


async def unfinished_count(store: Store, audit: int) -> int:
    """How many runs of an audit have not ended."""
    return len([
        r async for r in every_run(store) if audit_of(r.run_id) == audit and r.status.is_open
    ])
