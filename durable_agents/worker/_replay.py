"""Replays what is on record against today's code, and executes nothing.

An action that has recorded calls is started over its record, as after a crash. What it asks for
is handed over; the first call beyond the record waits for ever, and the first write that would
say how the action came out is looked at and not made. So a replay needs no store that it could
write to, and calls no function of the author's but actions.

Each action is replayed by itself: over the journal as it was right before the action completed,
or as it is now where it has not.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias, cast

import msgspec

from durable_agents.actions import CodeChange
from durable_agents.agent import Agent, AgentPlan
from durable_agents.clock import Clock, SystemClock
from durable_agents.journal import (
    ActionCompleted,
    ActionStarted,
    CallAbandoned,
    DeliveredOutOfOrder,
    Entry,
    MemoryUpdate,
    PromiseMade,
    RunAccepted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunParked,
    RunState,
    RunStatus,
    SentEvent,
    SignalAwaited,
    TimerFired,
    TimerSet,
    VersionMarked,
    place,
)
from durable_agents.serialization import Blobs, Codec, Payload
from durable_agents.store import OutputRow, RunLister, RunRow, Store, Write, every_run
from durable_agents.worker._agenda import Agenda, StoredRun
from durable_agents.worker._explained import code_change, explained
from durable_agents.worker._replay_difference import RecordedAction, difference
from durable_agents.worker._run import ActiveRun, Ending
from durable_agents.worker._services import UNWINDING_SECONDS, Services, make_services
from durable_agents.worker._settings import WorkerSettings

__all__ = ["RecordReader", "ReplayedAction", "ReplayedRun", "Safety", "replay", "replay_runs"]

_LOOK_AGAIN = 0.01
_MOST_NAMED = 5
_ON_THE_WAY = (
    CallAbandoned,
    DeliveredOutOfOrder,
    PromiseMade,
    SignalAwaited,
    TimerFired,
    TimerSet,
    VersionMarked,
)
"""What a replay may add to the record and go on."""
_SILENT = logging.Logger("durable_agents.replay", logging.CRITICAL + 1)  # noqa: LOG001 - of nobody else
"""What a replay would say of a run is not so: nothing becomes of it."""
_ENDS = (RunCompleted, RunFailed, RunParked, RunCancelled)


class RecordReader(RunLister, Protocol):
    """What is read of a store: `SqliteReader` does, and so does every open `Store`."""

    async def journal(self, number: int) -> list[tuple[int, list[Entry]]]:
        """Rows of a run."""
        ...

    async def blobs(self, number: int) -> dict[bytes, Payload]:
        """Large parts of a run's values."""
        ...

    async def outputs_of(self, number: int) -> list[OutputRow]:
        """Outputs of one run."""
        ...


Safety: TypeAlias = Literal["safe", "diverges", "gone"]
"""What a worker would come to: go on, or find that the code does not repeat what is on record,
or that it lacks an action that has begun, or the class of an event."""
_FROM_THE_WORST: tuple[Safety, ...] = ("gone", "diverges")


@dataclass(frozen=True, slots=True)
class ReplayedAction:
    """What became of one action of one run when it was replayed."""

    run_id: str
    action: str
    """Empty where the run cannot be lined up: its input or an event cannot be read."""
    event: int
    """Number of the event within the run that fired it: 0 is the input."""
    difference: str | None
    """What was recorded and what the code does now; None where the record is repeated."""
    is_gone: bool = False
    """Whether it had begun and the code has no such action for it any more, or cannot read an
    event of the run."""
    code_change: CodeChange = "unknown"
    """What became of its code since the run began it; `"unknown"` where it is gone, was not
    recorded, or another minor version of Python recorded it."""

    @property
    def safety(self) -> Safety:
        """Whether a worker can go on with it."""
        if self.is_gone:
            return "gone"
        return "safe" if self.difference is None else "diverges"

    def __str__(self) -> str:
        return (
            f"run {self.run_id}, action {self.action}" if self.action else f"run {self.run_id}"
        )


@dataclass(frozen=True, slots=True)
class ReplayedRun:
    """What became of one run when its actions were replayed."""

    run_id: str
    key: str
    status: RunStatus
    actions: list[ReplayedAction]
    """Those that have recorded calls."""

    @property
    def safety(self) -> Safety:
        """That of its worst action; safe where it has none."""
        found = {action.safety for action in self.actions}
        for worst in _FROM_THE_WORST:
            if worst in found:
                return worst
        return "safe"


async def replay(  # noqa: PLR0913 - of what a worker is made, and how long it is waited for
    agent: Agent,
    records: RecordReader,
    *,
    open_only: bool = False,
    settings: WorkerSettings | None = None,
    codec: Codec | None = None,
    clock: Clock | None = None,
    patience_seconds: float = 5.0,
) -> AsyncIterator[ReplayedAction]:
    """Replay every action of an agent that has recorded calls, run by run.

    Nothing is executed and nothing is written. Cancellation: leaves nothing behind.

    Args:
        agent: The code of today. Runs of other agents are passed over.
        records: What was recorded, open.
        open_only: Pass over runs that have ended, and actions that have completed.
        settings: Limits and sizes; a divergence is told, whatever they say.
        codec: How values became bytes.
        clock: Where the time comes from.
        patience_seconds: How long an action is waited for that neither asks for what is
            recorded nor comes to an end, > 0.

    Raises:
        DefinitionError: Something is wrong with the agent.
        StoreError: The records cannot be read.
        DecodeError: A blob of a run is not whole.
    """
    runs = replay_runs(
        agent,
        records,
        open_only=open_only,
        settings=settings,
        codec=codec,
        clock=clock,
        patience_seconds=patience_seconds,
    )
    async for run in runs:
        for replayed in run.actions:
            yield replayed


async def replay_runs(  # noqa: PLR0913 - as `replay`
    agent: Agent,
    records: RecordReader,
    *,
    open_only: bool = False,
    settings: WorkerSettings | None = None,
    codec: Codec | None = None,
    clock: Clock | None = None,
    patience_seconds: float = 5.0,
) -> AsyncIterator[ReplayedRun]:
    """Replay as `replay` does, and tell of each run, one without recorded calls, too.

    Arguments and errors are those of `replay`.
    """
    plan = AgentPlan.of(agent)
    rehearsal = _Replay(plan, records, open_only, settings, codec, clock, patience_seconds)
    async for row in every_run(records):
        if row.agent == plan.name and (row.status.is_open or not open_only):
            actions = await rehearsal.run(row)
            yield ReplayedRun(row.run_id, row.key, row.status, actions)


def _records_of(journal: Sequence[tuple[int, Sequence[Entry]]]) -> Iterator[RecordedAction]:
    rows: list[tuple[int, list[Entry]]] = []
    running: dict[int, ActionStarted] = {}
    failed: RunFailed | None = None
    for seq, entries in journal:
        row: list[Entry] = []
        rows.append((seq, row))
        for entry in entries:
            if isinstance(entry, ActionStarted):
                running.setdefault(entry.action, entry)
            elif isinstance(entry, ActionCompleted):
                started = running.pop(entry.action, None)
                if started is not None:
                    yield RecordedAction(started, [(n, list(kept)) for n, kept in rows], entry)
            if isinstance(entry, RunFailed):
                failed = entry
            elif not isinstance(entry, _ENDS):
                failed = None
                row.append(entry)
    for started in running.values():
        own = failed if failed is not None and failed.action == started.action else None
        yield RecordedAction(started, rows, own)


class _Pretence:
    """In the place of a store: what the run has shared, and the write that ends the replay."""

    holds_memory = True

    def __init__(self, blobs: dict[bytes, Payload]) -> None:
        self._blobs = blobs
        self.last: Write | None = None
        self.has_decided = asyncio.Event()

    async def memory(self, agent: str, key: str) -> dict[str, MemoryUpdate]:
        """Nothing: what an action saw of it is on its own record."""
        del agent, key
        return {}

    async def blobs(self, number: int) -> dict[bytes, Payload]:
        """Large parts of the run's values."""
        del number
        return self._blobs

    def append(self, write: Write) -> asyncio.Future[int]:
        """Take a write in; whoever waits for one that matters waits for ever."""
        future = asyncio.get_running_loop().create_future()
        if all(isinstance(entry, _ON_THE_WAY) for entry in write.entries):
            future.set_result(0)
        elif self.last is None:
            self.last = write
            self.has_decided.set()
        return future


@dataclass(frozen=True, slots=True)
class _Replay:
    plan: AgentPlan
    records: RecordReader
    open_only: bool
    settings: WorkerSettings | None
    codec: Codec | None
    clock: Clock | None
    patience_seconds: float

    async def run(self, row: RunRow) -> list[ReplayedAction]:
        """Replay the actions of one run."""
        journal = await self.records.journal(row.number)
        blobs = await self.records.blobs(row.number)
        if row.status.is_open and (problem := self._line_up(row, journal, blobs)) is not None:
            return [problem]
        records = [
            record
            for record in _records_of(journal)
            if not (self.open_only and isinstance(record.end, ActionCompleted))
        ]
        outputs = [output.event for output in await self.records.outputs_of(row.number)]
        return [await self._action(row, record, blobs, outputs) for record in records]

    def _line_up(
        self,
        row: RunRow,
        journal: list[tuple[int, list[Entry]]],
        blobs: dict[bytes, Payload],
    ) -> ReplayedAction | None:
        """Why a worker could not even find out what the run has to do; None: it could."""
        stored = _stored(row, journal)
        codec = self._codec.for_run(Blobs(blobs))
        agenda = Agenda(stored, self.plan)
        try:
            agenda.build(stored.state, codec)
        except Exception as error:  # noqa: BLE001 - what a condition raised
            raised = f"it fails now: {type(error).__name__}: {error}"
            return ReplayedAction(row.run_id, "", 0, raised)
        if agenda.is_unreadable:
            return ReplayedAction(row.run_id, "", 0, agenda.gone, is_gone=True)
        return None

    @property
    def _codec(self) -> Codec:
        settings = WorkerSettings() if self.settings is None else self.settings
        return self.codec or Codec(max_bytes=settings.max_payload_bytes)

    async def _action(
        self,
        row: RunRow,
        record: RecordedAction,
        blobs: dict[bytes, Payload],
        outputs: Sequence[SentEvent],
    ) -> ReplayedAction:
        store = _Pretence(blobs)
        services = self._services(store)
        stage = _Stage(row, record, self.plan, services)
        services.lineage.install()
        try:
            await stage.play(store.has_decided, self.patience_seconds)
            if store.last is None:
                changed = stage.silence()
            else:
                codec = stage.active.codec
                changed = difference(row.run_id, record, store.last, outputs, codec)
            is_gone = stage.active.is_code_gone
            replayed = ReplayedAction(
                row.run_id, record.started.name, record.started.event, changed, is_gone
            )
            return self._compared(replayed, record, store.last)
        finally:
            try:
                await stage.clear()
            finally:
                services.lineage.uninstall()
                services.threads.close()

    def _compared(
        self, replayed: ReplayedAction, record: RecordedAction, write: Write | None
    ) -> ReplayedAction:
        """The same, with what became of the code."""
        started, action = record.started, self.plan.actions.get(replayed.action)
        if action is None:
            return replayed
        told = replayed.difference
        # Why a worker would park it says so already.
        is_parked = write is not None and any(isinstance(e, RunParked) for e in write.entries)
        if told is not None and not is_parked:
            told = explained(told, started, action)
        return replace(replayed, difference=told, code_change=code_change(started, action))

    def _services(self, store: _Pretence) -> Services:
        settings = WorkerSettings() if self.settings is None else self.settings
        settings = msgspec.structs.replace(settings, on_divergence="fail")
        clock = SystemClock() if self.clock is None else self.clock
        # What a run asks of its store while it replays is all there; see `_Pretence`.
        services = make_services(settings, cast("Store", store), clock, self._codec)
        services.logger = _SILENT
        return services


class _Stage:
    """One action on its record, until it has shown what it does."""

    def __init__(
        self, row: RunRow, record: RecordedAction, plan: AgentPlan, services: Services
    ) -> None:
        self._record = record
        self._services = services
        self._tasks: set[asyncio.Task[Any]] = set()
        self._beyond: list[str] = []
        self._has_left = asyncio.Event()
        services.at_end_of_record = self._wait_for_ever
        self.active = ActiveRun(
            _stored(row, record.rows), plan, services, self._spawn, self._on_end
        )

    async def play(self, has_decided: asyncio.Event, patience_seconds: float) -> None:
        """Run the action until it wants to write, or stands behind the end of its record."""
        self._services.lineage.outside(self.active.start)
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_seconds
        while not has_decided.is_set() and loop.time() < until:
            # Whether it completes is known only by waiting; otherwise its record is all.
            has_shown_all = self._beyond and not self.active.not_asked
            if has_shown_all and not isinstance(self._record.end, ActionCompleted):
                return
            waiting = asyncio.ensure_future(has_decided.wait())
            await asyncio.wait([waiting], timeout=_LOOK_AGAIN)
            waiting.cancel()

    def silence(self) -> str | None:
        """What is different about an action that wrote nothing."""
        if lost := self.active.not_asked:
            shown = ", ".join(f"{r} at {place(r.key)}" for r in lost[:_MOST_NAMED])
            return f"{len(lost)} recorded calls were not made: {shown}"
        if self._record.end is None:
            return None
        if self._beyond:
            return f"made no such call when it was recorded, now {self._beyond[0]}"
        return "it ended when it was recorded, and now waits for something outside"

    async def clear(self) -> None:
        """End what the action has left."""
        self.active.stop("the replay has ended")
        await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=UNWINDING_SECONDS)

    def _spawn(self, coroutine: Any, name: str) -> asyncio.Task[Any]:
        lineage = self._services.lineage
        task = lineage.task(coroutine, name=name, context=copy_context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _on_end(self, run: ActiveRun, ending: Ending) -> None:
        del run, ending  # it was stopped: nothing else ends a run that can write nothing

    async def _wait_for_ever(self, asked: str) -> None:
        self._beyond.append(asked)
        await asyncio.get_running_loop().create_future()


def _stored(row: RunRow, rows: list[tuple[int, list[Entry]]]) -> StoredRun:
    accepted = rows[0][1][0]
    assert isinstance(accepted, RunAccepted), "the first entry of a journal is its acceptance"
    return StoredRun.of(row.number, accepted, RunState.of(rows))
