"""The runs of one worker among several that share a store.

Order per key is the store's here: it lets a worker claim a run when no earlier one of its key
is open, wherever that was accepted or runs. So of each key at most one run is in memory; turns
between keys and the bound on the whole stay the scheduler's.
"""

import logging
from collections.abc import Callable, Collection, Sequence

from durable_agents.agent import AgentPlan
from durable_agents.errors import RunError, StoreError
from durable_agents.journal import RunStatus
from durable_agents.store import ClaimedRun, Claims, RunRow, Write
from durable_agents.worker._dispatcher import Dispatcher
from durable_agents.worker._lease import Lease
from durable_agents.worker._returning import put_back_all
from durable_agents.worker._services import Services

__all__ = ["SharedDispatcher"]

logger = logging.getLogger("durable_agents")

_LOST = (
    "another worker took the run over, since this one was not heard of in time; the run goes "
    "on there: submit it again with the same id to wait for it"
)


class SharedDispatcher(Dispatcher):
    """Runs what the store lets this worker claim.

    Args:
        plan: The agent's plan.
        services: The worker's.
        owner: Name of the worker, for the record.
        on_crash: Told when a task of ours fails, other than by a run's own failure.
        claims: The store's.
        lease: The worker's.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a dispatcher has, and what it shares by
        self,
        plan: AgentPlan,
        services: Services,
        owner: str,
        on_crash: Callable[[BaseException], None],
        claims: Claims,
        lease: Lease,
    ) -> None:
        super().__init__(plan, services, owner, on_crash)
        self._claims = claims
        self._lease = lease

    async def find_open_runs(self, *, was_closed: bool) -> None:  # noqa: ARG002 - each run says so itself
        """Claim the first runs; from now on the others see that this worker lives."""
        self._claims.attach(self)
        await put_back_all(self._plan, self._services)
        await self._lease.take()
        self.read(self._keep_looking(), "keep the lease")

    def claimed(self, runs: Sequence[ClaimedRun]) -> None:
        """These runs are this worker's now; see `Claimant`."""
        for run in runs:
            if run.was_left:
                self._take_over.left.add(run.number)
            self.scheduler.offer(run.key, self._turn_of(run.number, run.turn))
        self.dispatch()

    def lost(self, numbers: Collection[int]) -> None:
        """These runs are others' now; see `Claimant`."""
        for number in numbers:
            if (run := self.active.get(number)) is not None:
                run.stop(_LOST)
            elif (key := self._held.pop(number, None)) is not None:
                self.scheduler.release(key)
                self._claims.forget(number)
        # What waits for its turn is left when it comes.
        self.dispatch()

    async def drain(self) -> None:
        """Wait until every run has ended or is parked, whichever worker has it."""
        while True:
            if self._stopped_for is not None:
                all_runs = "(all)"
                raise RunError(all_runs, self._stopped_for)
            await super().drain()
            if (await self._lease.beat()).is_idle and self.scheduler.is_drained:
                return
            await self._services.clock.sleep(self._lease.pause)

    async def _keep_looking(self) -> None:
        has_told = True
        while True:
            await self._services.clock.sleep(self._lease.pause)
            if await self._lease.look() or not has_told:
                has_told = await self._tell_of_others()

    async def _tell_of_others(self) -> bool:
        """Tell those who hold a run that came to something in another worker.

        Returns:
            Whether the store could be read.
        """
        self._services.outputs.announce()
        known = self.endings.waited_for()
        watched = [number for number in known if not self._claims.holds(number)]
        if not watched:
            return True
        try:
            for number, status in (await self._claims.statuses(watched)).items():
                if status is not known[number]:
                    ending = await self.endings.recorded(number)
                    if ending is not None:
                        self.endings.tell(number, ending)
        except StoreError as error:
            logger.warning("ends of runs cannot be read: %s; trying again", error)
            return False
        return True

    def put_back(self, row: RunRow, write: Write) -> None:
        """A person put a run back to work: whoever has room claims it when its turn comes."""
        if row.number in self._held:
            super().put_back(row, write)
        else:
            self.endings.reopen(row.number)

    def has_lost(self, number: int) -> bool:
        """Whether another worker took the run over."""
        return self._claims.has_lost(number)

    def drop(self, key: str, number: int) -> None:
        """A run that was lost has ended here."""
        self.endings.lose(number, _LOST)
        self._take_over.left.discard(number)
        self._claims.forget(number)
        self.scheduler.finish(key)
        self.dispatch()

    def leave(self, key: str, number: int, status: RunStatus) -> None:  # noqa: ARG002
        """A run has come to something; if it waits for a person, the store keeps its key."""
        self._take_over.left.discard(number)
        self.scheduler.finish(key)
        self.dispatch()
