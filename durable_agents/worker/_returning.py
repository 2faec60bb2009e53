"""Runs that were parked for want of code go on when a worker starts that has it."""

import logging

from durable_agents import recovery
from durable_agents.agent import AgentPlan
from durable_agents.errors import StoreConflictError, StoreError
from durable_agents.journal import RunStatus
from durable_agents.serialization import Blobs
from durable_agents.store import RunRow, Write, state_of
from durable_agents.worker._agenda import Agenda, StoredRun
from durable_agents.worker._services import Services

__all__ = ["put_back_all", "returns_to_work"]

logger = logging.getLogger("durable_agents")

_ROWS_PER_READ = 1000


async def returns_to_work(row: RunRow, plan: AgentPlan, services: Services) -> bool:
    """Put a run back to work that lacked code which is there now; durable on return.

    Args:
        row: A run that is open.
        plan: The code of today.
        services: The worker's.

    Returns:
        Whether it goes on. One that cannot be read stays as it is, and so does one that another
        worker has put back.
    """
    if row.status is not RunStatus.PARKED:
        return False
    try:
        return await _put_back(row, plan, services)
    except StoreConflictError:
        services.store.readmit(row.number)
    except StoreError as error:
        logger.warning("run %s stays parked: %s", row.run_id, error)
    return False


async def put_back_all(plan: AgentPlan, services: Services) -> None:
    """The same for all runs of an agent, in a store that lists them to nobody in particular.

    Raises:
        StoreError: The runs cannot be listed.
    """
    after, more = 0, True
    while more:
        rows = await services.store.open_runs(plan.name, after=after, limit=_ROWS_PER_READ)
        for row in rows:
            await returns_to_work(row, plan, services)
            after = row.turn
        more = len(rows) == _ROWS_PER_READ


async def _put_back(row: RunRow, plan: AgentPlan, services: Services) -> bool:
    store = services.store
    accepted, state = await state_of(store, row.number)
    if not state.lacks_code:
        return False
    blobs = Blobs(await store.blobs(row.number))
    agenda = Agenda(StoredRun.of(row.number, accepted, state), plan)
    try:
        agenda.build(state, services.codec.for_run(blobs))
    except Exception as error:  # noqa: BLE001 - a condition, which would fail the run
        logger.warning("run %s stays parked: a condition raised %r", row.run_id, error)
        return False
    if agenda.gone is not None:
        return False
    write = Write(
        number=row.number,
        entries=recovery.retried(state, services.clock.now()),
        status=RunStatus.ACCEPTED,
        decided_on=row.status,
    )
    await store.append(write)
    logger.info("run %s goes on: the code that it lacked is back", row.run_id)
    return True
