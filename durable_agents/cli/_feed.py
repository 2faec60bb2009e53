"""Lines into runs: submitted in order, so many at a time, each seen to its end."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from durable_agents.cli._exit import UsageError
from durable_agents.cli._lines import InputLine, InputLines, Parsed, RefusedLine
from durable_agents.cli._output_file import OutputFile
from durable_agents.cli._reasons import reason_of
from durable_agents.cli._show import Progress
from durable_agents.cli._tally import ChangedLine, Tally
from durable_agents.errors import (
    InputError,
    RunCancelledError,
    RunError,
    RunFailedError,
    RunParkedError,
    SerializationError,
)
from durable_agents.journal import RunStatus
from durable_agents.store import RunRow, SqliteReader
from durable_agents.worker import Run, Worker

__all__ = ["Feed"]

_STATUSES: Mapping[type[RunError], RunStatus] = {
    RunFailedError: RunStatus.FAILED,
    RunParkedError: RunStatus.PARKED,
    RunCancelledError: RunStatus.CANCELLED,
}
_WRITE_EVERY = 1.0
"""Seconds after which outputs are looked for although no run has ended."""


class Feed:
    """One pass over the lines of a file.

    Args:
        worker: Runs the agent, open.
        reader: Its store, open.
        agent: Name of the agent.
        lines: The inputs.
        output: Where outputs go, open; None: nowhere.
        tally: Told what becomes of each line.
        show: Told how far it is.
        most: Most inputs that are submitted and have not ended; the others wait in the file.
    """

    def __init__(  # noqa: PLR0913 - a pass is made of these, and made in one place
        self,
        worker: Worker,
        reader: SqliteReader,
        agent: str,
        lines: InputLines,
        output: OutputFile | None,
        *,
        tally: Tally,
        show: Progress,
        most: int,
    ) -> None:
        self._worker = worker
        self._reader = reader
        self._agent = agent
        self._lines = lines
        self._output = output
        self._tally = tally
        self._show = show
        self._most = most
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """Of lines on their way, by run id."""
        self._submitted: set[str] = set()
        """Ids of those that the worker has taken in."""
        self._has_changed = asyncio.Event()
        self._wakes_writer = asyncio.Event()
        self._has_ended = False

    async def work(self) -> None:
        """Submit every line and wait for its end; `report.is_finished` says if it got there.

        Raises:
            OutputError: The output file cannot be written any more.
            StoreError: The store fails.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write_outputs())
                await self._submit_all(tasks)
                while self._tasks and not self._worker.is_stopping:
                    await self._wait_for_a_change()
                self._tally.report.is_finished = not self._worker.is_stopping
                if self._tasks:
                    await asyncio.wait(self._tasks.values())
                self._has_ended = True
                self._wakes_writer.set()
                await writer
        except ExceptionGroup as group:
            # One says it all: each is the same error of the same store.
            raise group.exceptions[0] from None

    async def _submit_all(self, tasks: asyncio.TaskGroup) -> None:
        async for chunk in self._lines.chunks():
            known = await self._known(chunk)
            for line in chunk:
                if self._worker.is_stopping:
                    return
                if isinstance(line, RefusedLine):
                    self._tally.refuse(line)
                elif (row := known.get(line.run_id)) is not None and not row.status.is_open:
                    await self._count_earlier(row)
                else:
                    await self._submit(line, tasks)
                self._show(self._tally.report.lines)

    async def _submit(self, line: InputLine, tasks: asyncio.TaskGroup) -> None:
        while len(self._tasks) >= self._most or line.run_id in self._tasks:
            await self._wait_for_a_change()
            if self._worker.is_stopping:
                return
        # Each task is started in the order of the lines, and submits before it waits.
        self._tasks[line.run_id] = tasks.create_task(self._run(line))

    async def _known(self, chunk: Sequence[Parsed]) -> Mapping[str, RunRow]:
        """Runs of these lines that are in the store; lines that were changed are told of."""
        lines = [line for line in chunk if isinstance(line, InputLine)]
        known: Mapping[str, RunRow]
        if self._lines.has_own_ids:
            prefixes = [self._lines.prefix(line.number) for line in lines]
            rows = await self._reader.beginning_with(prefixes)
            known = {row.run_id: row for row in rows if self._lines.holds(row.run_id)}
            self._tell_changed(lines, known)
        else:
            known = await self._reader.find_all(line.run_id for line in lines)
        for row in known.values():
            self._check_agent(row)
        return known

    def _check_agent(self, row: RunRow) -> None:
        if row.agent != self._agent:
            msg = (
                f"run {row.run_id} in the store is one of agent {row.agent!r}, not of "
                f"{self._agent!r}: take another --store for each agent"
            )
            raise UsageError(msg)

    def _tell_changed(self, lines: Sequence[InputLine], earlier: Mapping[str, RunRow]) -> None:
        places = {run_id.rpartition(":")[0]: run_id for run_id in earlier}
        for line in lines:
            former = places.get(line.run_id.rpartition(":")[0])
            if former is not None and line.run_id not in earlier:
                self._tally.change(ChangedLine(line.number, former))

    async def _count_earlier(self, row: RunRow) -> None:
        reason = ""
        if row.status is RunStatus.COMPLETED:
            self._tally.report.completed_before += 1
        elif self._tally.needs_reasons:
            reason = await reason_of(self._reader, row.number)
        self._tally.end(row.run_id, row.status, reason)

    async def _run(self, line: InputLine) -> None:
        self._tally.begin(line.run_id)
        try:
            run = await self._accept(line)
            if run is not None:
                self._submitted.add(line.run_id)
                self._has_changed.set()
                await self._see_to_its_end(run)
        finally:
            self._forget(line.run_id)

    async def _accept(self, line: InputLine) -> Run | None:
        """The run of a line; None where the line is refused or the worker is stopping."""
        try:
            return await self._worker.submit(line.value, key=line.key, id=line.run_id)
        except (InputError, SerializationError, ValueError) as error:
            self._tally.refuse(RefusedLine(line.number, str(error)))
        except RunError:
            pass  # the worker takes nothing in any more: the line is met again
        return None

    async def _see_to_its_end(self, run: Run) -> None:
        status, reason = RunStatus.COMPLETED, ""
        try:
            await run.result()
        except SerializationError:
            pass  # it completed; who cannot read its outputs says so when they are written
        except RunError as error:
            if type(error) not in _STATUSES:
                return  # the worker stopped first
            status, reason = _STATUSES[type(error)], error.reason
        self._tally.end(run.id, status, reason)

    def _forget(self, run_id: str) -> None:
        self._tasks.pop(run_id, None)
        self._submitted.discard(run_id)
        self._show(self._tally.report.lines)
        self._has_changed.set()
        self._wakes_writer.set()

    async def _wait_for_a_change(self) -> None:
        """Wait until a run was taken in or has ended; give up those held by a parked one."""
        self._has_changed.clear()
        submitted = set(self._submitted)
        changed = asyncio.ensure_future(self._has_changed.wait())
        drained = asyncio.ensure_future(self._drain())
        try:
            await asyncio.wait([changed, drained], return_when=asyncio.FIRST_COMPLETED)
            if not changed.done() and not self._worker.is_stopping:
                await self._give_up_held(submitted)
                await changed
        finally:
            changed.cancel()
            drained.cancel()

    async def _drain(self) -> None:
        with suppress(RunError):  # the worker stopped
            await self._worker.drain()

    async def _give_up_held(self, submitted: set[str]) -> None:
        """The worker has nothing left to do: whatever is open waits for a person."""
        rows = await self._reader.find_all(submitted)
        for run_id, row in rows.items():
            task = self._tasks.get(run_id)
            if row.status is RunStatus.ACCEPTED and task is not None and task.cancel():
                self._tally.end(run_id, row.status)

    async def _write_outputs(self) -> None:
        """Write what is committed whenever a run has ended, and once more at the end."""
        if self._output is None:
            return
        while not self._has_ended:
            self._wakes_writer.clear()
            await self._output.catch_up()
            with suppress(TimeoutError):
                async with asyncio.timeout(_WRITE_EVERY):
                    await self._wakes_writer.wait()
        await self._output.catch_up()
