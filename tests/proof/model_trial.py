"""Runs of trees over several lives of a process, and the check of all that was seen of them.

A trial keeps what survives a crash: the store and the witness. Each life is a worker over them,
under whatever loop it is awaited on; `examine` names every breach of a claim.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from durable_agents import (
    InMemoryStore,
    Run,
    RunError,
    StoreError,
    SystemClock,
    Worker,
    WorkerSettings,
)
from durable_agents.journal import (
    SIGNAL,
    SLEEP,
    TIMEOUT,
    CallAbandoned,
    CallsCleared,
    CallSettled,
    DeliveredOutOfOrder,
    Entry,
    TimerFired,
    TimerSet,
    call_id,
)
from durable_agents.serialization import Codec
from durable_agents.testing import CrashingStore
from durable_agents.worker._decisions import fork
from tests.proof.model_engine import Functions, Witness, agent_of
from tests.proof.model_reference import Outcome, returned, wrong
from tests.proof.model_tree import Kind, Node, answer, feed, nodes, origin, spelt

__all__ = ["SETTINGS", "Trial"]

CODEC = Codec()
SETTINGS = WorkerSettings(shutdown_grace_seconds=0, max_resident_runs=1)
"""Leaves without waiting for calls: as near to a crash as a worker comes that can be left. Of
two runs that only wait, one leaves memory."""
WAITS = {SIGNAL, SLEEP, TIMEOUT}
_EPOCH = 1_700_000_000.0


class LoopClock(SystemClock):
    """The loop's time, which a schedule may draw; it begins anew with each loop.

    So the wall clock goes back from one life to the next: a sleep that is on record is then
    slept once more, and one that was over is not.
    """

    def now(self) -> float:
        """Seconds of the loop, as a wall clock would have them."""
        return _EPOCH + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        """Seconds of the loop."""
        return asyncio.get_running_loop().time()


class Trial:
    """Some runs, each with its tree, and everything that outlives a process.

    Args:
        trees: What the action of each run does, by the run's id.
        inner: Keeps the journals.
    """

    def __init__(self, trees: Mapping[str, Node], inner: InMemoryStore) -> None:
        self.trees = trees
        self.witness = Witness()
        self.results: dict[str, Outcome | str] = {}
        """What the driver was told of each run that has ended."""
        self.worker: Worker | None = None
        """The one that works now."""
        self.cancelled: set[str] = set()
        """Runs that somebody asked to cancel."""
        self._crash: Callable[[], None] = _nothing
        self._inner = inner
        self._settled: Counter[str] = Counter()
        self._keys = {run: f"key {index % 2}" for index, run in enumerate(trees)}

    async def live(
        self,
        after: int | None,
        delay: Callable[[str], Awaitable[object]],
        *,
        commits: bool | None = None,
    ) -> bool:
        """One life of a process: take all runs in, and work until they end or it crashes.

        Args:
            after: Writes that become durable before it crashes; None: it does not.
            delay: Awaited in each call before it ends.
            commits: Whether the last one of these writes is durable, each having a transaction
                of its own. None: what has queued shares one, and all of it is durable.

        Returns:
            Whether it crashed.
        """
        crashed = asyncio.get_running_loop().create_future()

        def crash() -> None:
            store.has_crashed = True
            if not crashed.done():
                self.witness.begin_life()
                crashed.set_result(None)

        store = CrashingStore(
            self._inner,
            after=after,
            crash=crash,
            one_by_one=commits is not None,
            commits=commits is not False,
        )
        trees = {origin(run): tree for run, tree in self.trees.items()}
        agent = agent_of(trees, Functions(self.witness, delay), self.witness)
        clock = LoopClock()
        async with Worker(agent, store=store, settings=SETTINGS, clock=clock) as worker:
            self.worker, self._crash = worker, crash
            results = asyncio.ensure_future(self._results(worker))
            senders = [asyncio.ensure_future(s) for s in self._senders(worker, delay)]
            await asyncio.wait({results, crashed}, return_when=asyncio.FIRST_COMPLETED)
            for task in (results, *senders):
                task.cancel()
            self.worker, self._crash = None, _nothing
        if not crashed.done():
            results.result()
        return crashed.done()

    async def forked(self, run: str, draw: Callable[[Sequence[str]], str]) -> "Trial | None":
        """A trial of a fork of a run that has ended, at a call by lot.

        What the fork has on record must come back without being executed in its trial.

        Args:
            run: The run.
            draw: Chooses one of the ids of its settled calls.

        Returns:
            None where the run has settled no call.
        """
        await self._inner.open("whoever forks")
        try:
            row = await self._inner.find(run)
            assert row is not None, "it has ended"
            ids = await self._settled_calls(row.number)
            if not ids:
                return None
            at, new_id = draw(ids), f"{run}:fork"
            made = await fork(self._inner, SystemClock(), run, at, None, new_id)
            accepted = await self._inner.accept(made)
            copied = await self._settled_calls(accepted.number)
        finally:
            await self._inner.close()
        trial = Trial({new_id: self.trees[run]}, self._inner)
        trial.witness.begin_life()  # nobody goes back to the first release
        trial.witness.breaches = await trial.examine()
        if copied != ids[: ids.index(at)]:
            trial.witness.breaches.append(f"a fork of {ids} at {at} has {copied}")
        return trial

    async def _settled_calls(self, number: int) -> list[str]:
        """Ids of the calls of a run that have settled, as they did."""
        rows = await self._inner.journal(number)
        entries = [entry for _, row in rows for entry in row]
        settled = [entry for entry in entries if isinstance(entry, CallSettled)]
        return [call_id(0, "act", (entry.branch, entry.position)) for entry in settled]

    def crash(self) -> None:
        """The life that goes on ends here and now."""
        self._crash()

    async def _results(self, worker: Worker) -> None:
        runs = {r: await worker.submit(r, key=self._keys[r], id=r) for r in self.trees}
        for name, run in runs.items():
            told = await result_of(run)
            if self.results.setdefault(name, told) != told:
                was = self.results[name]
                self.witness.breaches.append(f"{name} came to {was}, and later to {told}")

    def _senders(
        self, worker: Worker, delay: Callable[[str], Awaitable[object]]
    ) -> Iterator[Coroutine[Any, Any, None]]:
        """Whoever sends a signal does so in every life: it cannot know what became of it."""

        async def send(run: str, name: str) -> None:
            await worker.submit(run, key=self._keys[run], id=run)
            await delay(f"signal {name}")
            with suppress(RunError, StoreError):  # the run has ended; the process has died
                await worker.signal(run, name, answer(name, feed()), id=name)

        for run, tree in self.trees.items():
            for path, node in nodes(tree):
                if node.kind is Kind.SIGNAL:
                    yield send(run, spelt(origin(run), path))

    async def examine(self) -> list[str]:
        """Every breach that can be seen now, between two lives."""
        await self._inner.open("the examiner")
        try:
            rows = await self._inner.runs(after=0, limit=100)
            journals = {
                row.run_id: await self._inner.journal(row.number)
                for row in rows
                if row.run_id in self.trees
            }
        finally:
            await self._inner.close()
        breaches = self.witness.breaches
        for run, journal in journals.items():
            breaches += self._examined(run, [entry for _, row in journal for entry in row])
        return breaches

    def _examined(self, run: str, entries: Sequence[Entry]) -> list[str]:
        seen = self.witness.all_seen(run)
        origin_of = origin(run)
        names = [n for n in self.witness.executions if n.startswith(f"{origin_of}/")]
        is_cancelled = run in self.cancelled
        breaches = wrong(origin_of, self.trees[run], seen, names, may_be_cancelled=is_cancelled)
        breaches += self._repeated(entries)
        for entry in entries:
            if isinstance(entry, CallSettled) and not _told(entry).startswith(
                f"{called(entry)} of "
            ):
                breaches.append(f"{called(entry)} was given {_told(entry)!r}")
            elif isinstance(entry, CallsCleared | DeliveredOutOfOrder):
                breaches.append(f"{run} did not repeat its calls: {entry}")
        result = self.results.get(run)
        if result is not None and not _agrees(result, seen.get(())):
            breaches.append(f"{run} came to {seen.get(())}, and its driver was told {result}")
        return breaches

    def _repeated(self, entries: Sequence[Entry]) -> list[str]:
        """Calls that were executed again after they had settled or been given up."""
        over = {
            called(e)
            for e in entries
            if isinstance(e, CallSettled | CallAbandoned)
            and e.function not in {SIGNAL, SLEEP, TIMEOUT}
        }
        settled = [called(entry) for entry in entries if isinstance(entry, CallSettled)]
        settled += [
            f"{type(e).__name__} {e.function} at {e.branch}:{e.position}"
            for e in entries
            if isinstance(e, TimerSet | TimerFired)
        ]
        breaches = [f"{name} settled twice" for name, n in Counter(settled).items() if n > 1]
        for name in over:
            executions = self.witness.executions[name]
            if self._settled.setdefault(name, executions) != executions:
                breaches.append(f"{name} was executed again after it was over")
        return breaches


async def result_of(run: Run) -> Outcome | str:
    """What the driver is told of a run: its output, or the status in which it ended."""
    try:
        outputs = await run.result()
    except (RunError, StoreError) as error:
        return type(error).__name__
    return returned(outputs[0]) if len(outputs) == 1 else f"{len(outputs)} outputs"


def called(entry: CallSettled | CallAbandoned) -> str:
    """The name of the call that an entry is about."""
    found = re.search(r"'([^']*)'", entry.preview)
    assert found is not None, entry
    return found[1]


def _told(entry: CallSettled) -> str:
    if entry.failed:
        return str(CODEC.decode_failure(entry.payload))
    return str(CODEC.decode(entry.payload))


def _agrees(result: Outcome | str, root: Outcome | None) -> bool:
    """Whether the driver was told what the action came to."""
    if isinstance(result, Outcome):
        return root == result
    if result == "RunCancelledError":
        return root is None or root.how == "cancelled"
    return root is not None and result == "RunFailedError" and root.how == "raised"


def _nothing() -> None:
    """No life goes on."""
