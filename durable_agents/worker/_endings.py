"""How runs ended: told to those who hold them, read from the store for those who come later."""

from typing import Any
from weakref import WeakValueDictionary

from durable_agents.errors import StoreDamagedError, UnknownRunError
from durable_agents.journal import RunState, RunStatus
from durable_agents.store import GONE, AcceptedRun, OutputRow, Store, name_of, state_in
from durable_agents.worker._handle import Run, RunEnd
from durable_agents.worker._run import Ending
from durable_agents.worker._services import Services

__all__ = ["Endings", "output_rows"]

_FORGOTTEN = (
    "it has ended and was pruned, with its outputs, before they were read: give `prune` an age "
    "(older_than) that leaves time for it"
)


class Endings:
    """The ends of the runs that somebody holds.

    Args:
        services: The worker's.
    """

    def __init__(self, services: Services) -> None:
        self.counts = dict.fromkeys(RunStatus, 0)
        """Runs that ended since the worker started, by how."""
        self._services = services
        self._ends: WeakValueDictionary[int, RunEnd] = WeakValueDictionary()
        self._stuck: dict[int, Ending] = {}
        self._stopped_for: str | None = None

    def handle(self, accepted: AcceptedRun) -> Run:
        """A handle of a run; all handles of one run learn of the same end."""
        end = self._ends.get(accepted.number)
        if end is None:
            end = self._ends[accepted.number] = RunEnd()
            if accepted.number in self._stuck:
                end.set(self._stuck[accepted.number])
            elif self._stopped_for is not None:
                end.set(Ending(RunStatus.RUNNING, self._stopped_for))
        return Run(accepted, end, self)

    def end(self, number: int, ending: Ending) -> None:
        """A run has ended here."""
        self.counts[ending.status] += 1
        self.tell(number, ending)

    def tell(self, number: int, ending: Ending) -> None:
        """Tell those who hold a run how it ended, here or earlier."""
        end = self._ends.get(number)
        if end is not None:
            end.set(ending)

    def stick(self, number: int, ending: Ending) -> None:
        """A run cannot go on here, and its record does not say so: later handles are told."""
        self._stuck[number] = ending
        self.tell(number, ending)

    def reopen(self, number: int) -> None:
        """A run goes on that had ended: who asks from now on waits for its next end."""
        self._stuck.pop(number, None)
        end = self._ends.get(number)
        if end is not None:
            end.reopen()

    def lose(self, number: int, reason: str) -> None:
        """A run goes on elsewhere; who asks from now on waits for its end there."""
        end = self._ends.pop(number, None)
        if end is not None and end.ending is None:
            end.set(Ending(RunStatus.RUNNING, reason))

    def waited_for(self) -> dict[int, RunStatus]:
        """Runs that somebody holds and that may still come to something else."""
        statuses = {
            number: RunStatus.RUNNING if end.ending is None else end.ending.status
            for number, end in self._ends.items()
        }
        return {
            number: status
            for number, status in statuses.items()
            if status is RunStatus.RUNNING or status.waits_for_person
        }

    def stop(self, reason: str) -> None:
        """Nothing ends here any more."""
        self._stopped_for = reason
        for end in list(self._ends.values()):
            if end.ending is None:
                end.set(Ending(RunStatus.RUNNING, reason))

    async def read(self, run_id: str, number: int) -> Ending | None:
        """How a run ended, as the store knows it; None while it is open.

        Raises:
            StoreDamagedError: Its journal is not whole.
            StoreError: The store cannot be read.
        """
        store = self._services.store
        ending = await self.recorded(number)
        row = None if ending is not None else await store.find(run_id)
        if row is None or (row.status.is_open and not row.status.waits_for_person):
            return ending
        # It does not go on, says the list: since it was read here, or its last row is gone.
        ending = await self.recorded(number)
        if ending is None and await store.find(run_id) == row:
            listed = row.status.name.lower()
            problem = f"run {run_id} is listed as {listed}, its journal goes on"
            raise self._damaged(problem)
        return ending

    async def recorded(self, number: int) -> Ending | None:
        """The same by its journal alone."""
        store = self._services.store
        rows = await store.journal(number)
        if not rows:
            return Ending(RunStatus.RUNNING, _FORGOTTEN, UnknownRunError(str(number)))
        _, state = state_in(rows, store, number)
        return self.of(state)

    def of(self, state: RunState) -> Ending | None:
        """How a run ended, from its state; None while it is open."""
        if state.status.is_open and not state.status.waits_for_person:
            return None
        error = (
            None if state.error is None else self._services.codec.decode_failure(state.error)
        )
        reason = state.reason if error is None else f"{type(error).__name__}: {error}"
        return Ending(state.status, reason, error, output_count=state.output_count)

    async def read_outputs(self, ending: Ending, run_id: str, number: int) -> list[Any]:
        """Decoded outputs of a completed run.

        Raises:
            DecodeError: One cannot be decoded.
            StoreDamagedError: One is damaged, or missing.
            UnknownRunError: It was pruned before they were read.
        """
        events = ending.outputs
        if events is None:
            rows = await output_rows(self._services.store, run_id, number)
            events = [row.event for row in rows]
            if ending.output_count not in {None, len(events)}:
                sent, found = ending.output_count, len(events)
                problem = f"run {run_id} put out {sent} values, {found} are here"
                raise self._damaged(problem)
        return [self._services.codec.decode(event.payload) for event in events]

    def _damaged(self, problem: str) -> StoreDamagedError:
        return StoreDamagedError(name_of(self._services.store), f"{problem}: {GONE}")


async def output_rows(store: Store, run_id: str, number: int) -> list[OutputRow]:
    """Outputs of a completed run, as they were committed.

    Raises:
        UnknownRunError: It was pruned before they were read.
    """
    rows = await store.outputs_of(number)
    if not rows and not await store.journal(number):
        raise UnknownRunError(run_id, _FORGOTTEN)
    return rows
