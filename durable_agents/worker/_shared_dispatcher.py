"""The runs of one worker among several that share a store.

Order per key is the store's here: it lets a worker claim a run when no earlier one of its key
is open, wherever that was accepted or runs. So of each key at most one run is in memory; turns
between keys and the bound on the whole stay the scheduler's.
"""

from collections.abc import Callable, Collection, Sequence

from durable_agents.agent import AgentPlan
from durable_agents.errors import RunError, StoreError
from durable_agents.journal import RunStatus
from durable_agents.store import ClaimedRun, Claims
from durable_agents.worker._dispatcher import Dispatcher
from durable_agents.worker._lease import Lease
from durable_agents.worker._run import Ending
from durable_agents.worker._services import Services

__all__ = ["SharedDispatcher"]

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
        self._left: set[int] = set()
        self._quarantined: dict[int, str] = {}

    async def find_open_runs(self, *, was_closed: bool) -> None:  # noqa: ARG002 - each run says so itself
        """Claim the first runs; from now on the others see that this worker lives."""
        self._claims.attach(self)
        await self._lease.take()
        self._read(self._keep_looking(), "keep the lease")

    def claimed(self, runs: Sequence[ClaimedRun]) -> None:
        """These runs are this worker's now; see `Claimant`."""
        for run in runs:
            if run.was_left:
                self._left.add(run.number)
            self.scheduler.offer(run.key, run.number)
        self.dispatch()

    def lost(self, numbers: Collection[int]) -> None:
        """These runs are others' now; see `Claimant`."""
        for number in numbers:
            if (run := self.active.get(number)) is not None:
                run.stop(_LOST)
            elif (key := self._quarantined.pop(number, None)) is not None:
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
        while True:
            await self._services.clock.sleep(self._lease.pause)
            if await self._lease.look():
                await self._tell_of_others()

    async def _tell_of_others(self) -> None:
        """Tell those who hold a run that ended in another worker."""
        known = {n: end.ending for n, end in self._ends.items() if not self._claims.holds(n)}
        watched = [
            number
            for number, ending in known.items()
            if ending is None or ending.status is RunStatus.PARKED
        ]
        if not watched:
            return
        try:
            for number, status in (await self._claims.statuses(watched)).items():
                before = known[number]
                if before is None or before.status is not status:
                    ending = await self.read_ending(number)
                    if ending is not None:
                        self._tell(number, ending)
        except StoreError:
            return  # with the next news, if the store is well then

    def _was_left(self, number: int) -> bool:
        return number in self._left

    def _has_lost(self, number: int) -> bool:
        return self._claims.has_lost(number)

    def _leave(self, number: int, key: str) -> None:
        end = self._ends.pop(number, None)
        if end is not None and end.ending is None:
            end.set(Ending(RunStatus.RUNNING, _LOST))
        self._left.discard(number)
        self._claims.forget(number)
        self._pass_on(key)

    def _hold(self, key: str) -> None:
        # The store knows what waits behind a parked run, and who claims it when it goes on.
        self.scheduler.finish(key)

    def _quarantine(self, key: str, number: int, error: StoreError) -> None:
        self._quarantined[number] = key
        super()._quarantine(key, number, error)
