"""The verified fake: passes the contract suite of every store, keeps nothing on disk."""

import asyncio
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from durable_agents.errors import StoreOwnedError, StoreUnavailableError
from durable_agents.journal import (
    BATCH_BITS,
    Entry,
    MemoryUpdate,
    RunStatus,
    SentEvent,
    decode_blob,
    decode_row,
    encode_blob,
)
from durable_agents.serialization import Payload
from durable_agents.store._group_commit import BadWriteError
from durable_agents.store._pauses import in_order
from durable_agents.store._port import (
    AcceptedRun,
    NewRun,
    OutputRow,
    Pause,
    Retention,
    RunRow,
    StoreFacts,
    WaitingRuns,
    Write,
)
from durable_agents.store._write_queue import NOT_OPEN, Acceptance, QueuedWrite, WriteQueue

__all__ = ["InMemoryStore"]

_NAME = "in memory"


class InMemoryStore:
    """A store for tests: forgets everything with the process, but not when it is closed.

    Rows are kept encoded, as in every store, so that what is read is never what was handed in.

    Args:
        token: Name of the store, part of the ids of its runs.
    """

    def __init__(self, token: str = "memory") -> None:  # noqa: S107 - a name, no secret
        self._token = token
        self._owner: str | None = None
        self._was_closed = True
        self._queue: WriteQueue | None = None
        self._batch = 0
        self._runs: dict[int, RunRow] = {}
        self._numbers: dict[str, int] = {}
        self._journal: dict[int, list[tuple[int, bytes]]] = {}
        self._blobs: dict[int, dict[bytes, bytes]] = {}
        self._outputs: list[OutputRow] = []
        self._memory: dict[tuple[str, str], dict[str, MemoryUpdate]] = {}
        self._ended: dict[int, float] = {}
        self._wakes: dict[int, float | None] = {}
        self._without_key: set[int] = set()
        self._consumers: dict[str, int] = {}
        self._moments: dict[tuple[str, str], int] = {}
        self._pauses: dict[tuple[str, str | None], Pause] = {}
        self._last_number = 0
        self._last_position = 0

    @property
    def control_path(self) -> None:
        """No socket: it is reached from its own process alone."""

    async def open(self, owner: str) -> StoreFacts:
        """Take the store for one worker; see `Store.open`."""
        if self._owner is not None:
            raise StoreOwnedError(
                _NAME, f"it is owned by {self._owner}: close that worker first"
            )
        self._owner = owner
        facts = StoreFacts(self._token, self._was_closed)
        self._was_closed = False
        self._queue = WriteQueue(_NAME, self._token, self._last_number, self._commit)
        return facts

    async def close(self) -> None:
        """Commit what has been enqueued, then let go of the store."""
        if self._queue is not None:
            await self._queue.close()
            self._queue = None
            self._owner, self._was_closed = None, True

    def accept(self, run: NewRun) -> asyncio.Future[AcceptedRun]:
        """Take an input in; see `Store.accept`."""
        return self._opened.accept(run)

    def append(self, write: Write) -> asyncio.Future[int]:
        """Add to a run's journal; see `Store.append`."""
        return self._opened.append(write)

    async def journal(self, number: int) -> list[tuple[int, list[Entry]]]:
        """Rows of a run; see `Store.journal`."""
        rows = self._journal.get(number, [])
        return [(seq, decode_row(number, body, _NAME)) for seq, body in rows]

    async def blobs(self, number: int) -> dict[bytes, Payload]:
        """Large parts of a run's values; see `Store.blobs`."""
        bodies = self._blobs.get(number, {})
        return {name: decode_blob(number, name, bodies[name], _NAME) for name in bodies}

    def readmit(self, number: int) -> None:
        """Let writes of a run through again; see `Store.readmit`."""
        self._opened.readmit(number)

    async def find(self, run_id: str) -> RunRow | None:
        """The run with this id."""
        number = self._opened.number_of(run_id)
        return self._runs.get(self._numbers.get(run_id, -1) if number is None else number)

    async def open_runs(self, agent: str, *, after: int, limit: int) -> list[RunRow]:
        """Runs of an agent that have not ended."""
        rows = (r for r in self._runs.values() if r.agent == agent and r.status.is_open)
        return sorted(
            (r for r in rows if r.turn > after and not self._is_out_of_the_way(r)), key=_turn
        )[:limit]

    def _is_out_of_the_way(self, row: RunRow) -> bool:
        return row.status is RunStatus.WAITING and row.number in self._without_key

    async def open_runs_of_key(
        self, agent: str, key: str, *, after: int, limit: int
    ) -> list[RunRow]:
        """The same for one key."""
        rows = await self.open_runs(agent, after=after, limit=len(self._runs))
        return [r for r in rows if r.key == key][:limit]

    async def waiting_runs(self, agent: str) -> WaitingRuns:
        """How many runs of an agent wait; see `Store.waiting_runs`."""
        rows = self._waiting(agent)
        dues = (self._wakes[row.number] for row in rows)
        return WaitingRuns(len(rows), min((d for d in dues if d is not None), default=None))

    async def due_runs(self, agent: str, *, now: float, limit: int) -> list[RunRow]:
        """Those of them that are due."""
        dues = ((self._wakes[row.number], row.number, row) for row in self._waiting(agent))
        due = sorted((due, n, row) for due, n, row in dues if due is not None and due <= now)
        return [row for _, _, row in due[:limit]]

    def _waiting(self, agent: str) -> list[RunRow]:
        rows = self._runs.values()
        return [r for r in rows if r.agent == agent and r.status is RunStatus.WAITING]

    @property
    def holds_memory(self) -> bool:
        """Whether any short-term memory is kept."""
        return bool(self._memory)

    @property
    def claims(self) -> None:
        """One worker has all runs."""
        return

    async def memory(self, agent: str, key: str) -> Mapping[str, MemoryUpdate]:
        """Short-term memory of a key."""
        return dict(self._memory.get((agent, key), {}))

    async def outputs_of(self, number: int) -> list[OutputRow]:
        """Outputs of one run, in order."""
        return [row for row in self._outputs if row.number == number]

    async def outputs(self, *, after: int, limit: int) -> list[OutputRow]:
        """Outputs of all runs, beginning behind a position."""
        return [row for row in self._outputs if row.position > after][:limit]

    async def runs(self, *, after: int, limit: int) -> list[RunRow]:
        """All runs by number, beginning behind `after`."""
        return sorted((r for r in self._runs.values() if r.number > after), key=_number)[:limit]

    async def last_position(self) -> int:
        """Position of the newest output."""
        return self._last_position

    async def acknowledged(self, consumer: str) -> int:
        """How far a consumer has come; see `Store.acknowledged`."""
        return self._consumers.get(consumer, 0)

    async def acknowledge(self, consumer: str, position: int) -> None:
        """Keep how far a consumer has come; see `Store.acknowledge`."""
        self._consumers[consumer] = max(position, self._consumers.get(consumer, 0))

    async def moment(self, agent: str, schedule: str, first: int) -> int:
        """The moment that a schedule has come to; see `Store.moment`."""
        return self._moments.setdefault((agent, schedule), first)

    async def keep_moment(self, agent: str, schedule: str, moment: int) -> None:
        """Keep the moment that a schedule has come to; see `Store.keep_moment`."""
        kept = self._moments.get((agent, schedule), moment)
        self._moments[agent, schedule] = max(kept, moment)

    async def pauses(self) -> list[Pause]:
        """What is paused; see `Store.pauses`."""
        return sorted(self._pauses.values(), key=in_order)

    async def pause(self, pause: Pause) -> None:
        """Keep a pause; see `Store.pause`."""
        self._pauses[pause.agent, pause.key] = pause

    async def resume(self, agent: str, key: str | None) -> bool:
        """Forget a pause; see `Store.resume`."""
        return self._pauses.pop((agent, key), None) is not None

    async def prune(self, retention: Retention) -> int:
        """Forget some runs that have ended; see `Store.prune`."""
        ended = sorted(n for n, row in self._runs.items() if not row.status.is_open)
        old = ended[: len(ended) - retention.keep] if retention.keep < len(ended) else []
        gone = {number for number in old if self._is_prunable(number, retention)}
        for number in gone:
            row = self._runs.pop(number)
            self._numbers.pop(row.run_id, None)
            del self._journal[number], self._ended[number]
            self._wakes.pop(number, None)
            self._without_key.discard(number)
            self._blobs.pop(number, None)
        self._outputs = [row for row in self._outputs if row.number not in gone]
        return len(gone)

    def _is_prunable(self, number: int, retention: Retention) -> bool:
        if self._runs[number].status is RunStatus.FAILED and not retention.failed:
            return False
        if self._ended[number] >= retention.ended_before:
            return False
        seen = min(self._consumers.values(), default=self._last_position)
        return all(row.position <= seen for row in self._outputs if row.number == number)

    @property
    def _opened(self) -> WriteQueue:
        if self._queue is None:
            raise StoreUnavailableError(_NAME, NOT_OPEN)
        return self._queue

    async def _commit(self, batch: Sequence[QueuedWrite]) -> None:
        for queued in batch:
            if isinstance(queued.write, Write):
                _check_text(queued.write)
        self._batch += 1
        for index, queued in enumerate(batch):
            match queued.write:
                case Acceptance() as acceptance:
                    queued.result = self._keep_run(acceptance, queued.body)
                case write:
                    queued.result = self._batch << BATCH_BITS | index
                    self._keep_entries(queued.result, write, queued.body)

    def _keep_run(self, acceptance: Acceptance, body: bytes) -> AcceptedRun:
        number = self._numbers.setdefault(acceptance.run_id, acceptance.number)
        if number != acceptance.number:
            row = self._runs[number]
            return AcceptedRun(number, row.run_id, row.key, is_new=False)
        self._last_number = max(self._last_number, number)
        self._runs[number] = RunRow(
            number,
            acceptance.run_id,
            acceptance.run.agent,
            acceptance.key,
            RunStatus.ACCEPTED,
            number,
        )
        self._journal[number] = [(0, body)]
        if acceptance.run.key is None:
            self._without_key.add(number)
        self._keep_outputs(number, acceptance.run.outputs)
        self._keep_blobs(number, acceptance.run.blobs)
        return acceptance.as_accepted()

    def _keep_entries(self, seq: int, write: Write, body: bytes) -> None:
        self._journal[write.number].append((seq, body))
        row = self._runs[write.number]
        if write.status is not None:
            row = self._runs[write.number] = replace(row, status=write.status)
            self._wakes[write.number] = write.wake
            if write.ended_at is not None:
                self._ended[write.number] = write.ended_at
        if write.requeues:
            self._runs[write.number] = replace(row, turn=write.turn)
            self._last_number = max(self._last_number, write.turn)
        self._keep_outputs(write.number, write.outputs)
        self._keep_blobs(write.number, write.blobs)
        if write.memory is not None:
            agent, key, changes = write.memory
            cells = self._memory.setdefault((agent, key), {})
            for path, update in changes.items():
                if update is None:
                    cells.pop(path, None)
                else:
                    cells[path] = update

    def _keep_outputs(self, number: int, events: Sequence[SentEvent]) -> None:
        row = self._runs[number]
        for event in events:
            self._last_position += 1
            output = OutputRow(self._last_position, number, row.run_id, row.key, event)
            self._outputs.append(output)

    def _keep_blobs(self, number: int, blobs: Mapping[bytes, Payload] | None) -> None:
        if blobs is not None:
            bodies = self._blobs.setdefault(number, {})
            for name, payload in blobs.items():
                bodies.setdefault(name, encode_blob(number, name, payload))


def _check_text(write: Write) -> None:
    """Refuse what no file could hold, so that a test finds it before a disk does."""
    texts = [event.event_id for event in write.outputs]
    if write.memory is not None:
        agent, key, changes = write.memory
        texts += [agent, key, *changes]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise BadWriteError(str(error)) from error


def _number(row: RunRow) -> int:
    return row.number


def _turn(row: RunRow) -> int:
    return row.turn
