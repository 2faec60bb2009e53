"""Trees as actions of a real worker, with a witness that no worker knows of.

`Performance` is one start of one run's action: it does what the tree says and notes down what
became of each node, until its life is over. `Witness` outlives the lives: which calls were
executed, and what each life saw.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from durable_agents import Agent, InputEvent, RunAborted, RunnerContext, durable
from tests.proof.model_reference import CANCELLED, Outcome, failed, returned
from tests.proof.model_tree import Feed, Kind, Node, Path, answer, feed, origin, spelt
from tests.proof.schedule_loop import acting_as

__all__ = ["HANGS_FOR", "Functions", "Performance", "RefusedError", "Witness", "agent_of"]

HANGS_FOR = 0.2
"""Seconds after which a call that hangs is given up."""
NAPS_FOR = 0.08
"""Seconds, times one to four: some naps are over before a call is given up, some after it."""

Given: TypeAlias = Coroutine[Any, Any, Any]
Items: TypeAlias = asyncio.Queue[list[Any] | None]


class RefusedError(Exception):
    """What calls and actions raise on purpose."""


@dataclass
class Witness:
    """What was seen of all runs from outside, over all lives of the process."""

    life: int = 0
    """Number of the life that goes on; what a former one still does is not noted."""
    executions: Counter[str] = field(default_factory=Counter[str])
    """How often the function of each call was begun."""
    seen: dict[str, dict[Path, Outcome]] = field(default_factory=dict[str, dict[Path, Outcome]])
    """Of each run what its nodes came to, in the life that goes on."""
    breaches: list[str] = field(default_factory=list[str])
    _before: dict[str, dict[Path, Outcome]] = field(
        default_factory=dict[str, dict[Path, Outcome]]
    )

    def begin_life(self) -> None:
        """The process has died, another one takes its place."""
        self.life += 1
        for run, seen in self.seen.items():
            self._before.setdefault(run, {}).update(seen)
        self.seen = {}

    def all_seen(self, run: str) -> dict[Path, Outcome]:
        """What nodes of a run came to, in whatever life."""
        return self._before.get(run, {}) | self.seen.get(run, {})

    def see(self, life: int, run: str, path: Path, outcome: Outcome) -> None:
        """A node came to something: the same thing as in every start before."""
        if life != self.life:
            return
        # In the same life, too: a run that left memory has begun anew.
        before = self.all_seen(run).get(path, outcome)
        self.seen.setdefault(run, {})[path] = outcome
        if before != outcome:
            self.breaches.append(f"{run} at {path} came to {before}, and then to {outcome}")


class Functions:
    """The durable functions of all trees.

    Args:
        witness: Told of each execution.
        delay: Awaited in each call, with its name, before it ends.
    """

    def __init__(self, witness: Witness, delay: Callable[[str], Awaitable[object]]) -> None:
        self._witness = witness
        self.life = witness.life
        """The life that they belong to: after a crash, workers of the old one do not count."""
        self._delay = delay

    def _begin(self, name: str) -> None:
        if self.life == self._witness.life:
            self._witness.executions[name] += 1

    @durable(name="work")
    async def work(self, name: str, given: Feed) -> str:
        """The one value that this call can have."""
        self._begin(name)
        await self._delay(name)
        return answer(name, given)

    @durable(name="refuse")
    async def refuse(self, name: str, given: Feed) -> None:
        """Raise the one error that this call can have."""
        self._begin(name)
        await self._delay(name)
        raise RefusedError(answer(name, given))

    @durable(name="hang")
    async def hang(self, name: str) -> None:
        """Never return."""
        self._begin(name)
        await asyncio.get_running_loop().create_future()


class Performance:
    """One start of the action of one run."""

    def __init__(self, ctx: RunnerContext, functions: Functions, witness: Witness) -> None:
        self._ctx = ctx
        self._functions = functions
        self._witness = witness
        self._life = functions.life
        self._run = str(ctx.run_id)
        self._origin = origin(self._run)

    async def visit(self, node: Node, path: Path, given: Feed) -> Any:  # noqa: ANN401
        """Do what a node says, and note down what comes of it."""
        try:
            value = await self._does[node.kind](self, node, path, given)
        except asyncio.CancelledError:
            self._see(path, CANCELLED)
            raise
        except Exception as error:
            self._see(path, failed(_texts(error)))
            raise
        self._see(path, returned(value))
        return value

    def _see(self, path: Path, outcome: Outcome) -> None:
        try:
            self._ctx.now()
        except RunAborted:
            return  # the run leaves memory: what ends its tasks is no outcome of theirs
        self._witness.see(self._life, self._run, path, outcome)

    def _name(self, path: Path, stage: str = "") -> str:
        return spelt(self._origin, path, stage)

    def _visits(self, node: Node, path: Path, given: Feed) -> list[Given]:
        """All parts of a node, not begun."""
        return [self.visit(part, (*path, i), given) for i, part in enumerate(node.parts)]

    def _numbered(
        self, node: Node, path: Path, given: Feed, into: Items | None = None
    ) -> list[Given]:
        """All parts of a node, each with its number and never failing; put into a queue."""

        async def numbered(index: int, part: Node) -> list[Any]:
            visit = self.visit(part, (*path, index), given)
            item = [index, (await _outcome(visit)).noted]
            if into is not None:
                into.put_nowait(item)
            return item

        return [numbered(index, part) for index, part in enumerate(node.parts)]

    async def _call(self, _: Node, path: Path, given: Feed) -> str:
        return await self._ctx.durable(self._functions.work, self._name(path), given)

    async def _refused_call(self, _: Node, path: Path, given: Feed) -> None:
        await self._ctx.durable(self._functions.refuse, self._name(path), given)

    async def _idle(self, _: Node, path: Path, __: Feed) -> None:
        for _turn in range(1 + sum(path) % 4):
            await asyncio.sleep(0)

    async def _nap(self, _: Node, path: Path, __: Feed) -> None:
        await self._ctx.sleep((1 + sum(path) % 4) * NAPS_FOR)

    async def _signal(self, _: Node, path: Path, __: Feed) -> str:
        return await self._ctx.wait_for_signal(self._name(path), type=str)

    async def _upgraded(self, _: Node, path: Path, given: Feed) -> str:
        stage = " 1"
        if self._life:  # the second release is rolled out at the first crash
            stage = f" {self._ctx.version(self._name(path), 1, 2)}"
        return await self._ctx.durable(self._functions.work, self._name(path, stage), given)

    async def _raise(self, _: Node, path: Path, given: Feed) -> None:
        raise RefusedError(answer(self._name(path), given))

    async def _sequence(self, node: Node, path: Path, given: Feed) -> list[Any]:
        values: list[Any] = []
        for index, part in enumerate(node.parts):
            values.append(await self.visit(part, (*path, index), given))
            given = feed(given, values[-1])
        return values

    async def _gather(self, node: Node, path: Path, given: Feed) -> list[Any]:
        tasks = [asyncio.ensure_future(visit) for visit in self._visits(node, path, given)]
        try:
            return await asyncio.gather(*tasks)
        except RefusedError:
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        except ExceptionGroup:
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _task_group(self, node: Node, path: Path, given: Feed) -> list[Any]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(visit) for visit in self._visits(node, path, given)]
        return [task.result() for task in tasks]

    async def _race(self, node: Node, path: Path, given: Feed) -> list[Any]:
        async with _cancelled_after(self._visits(node, path, given)) as tasks:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winners = [(index, task) for index, task in enumerate(tasks) if task in done]
        return [[index, (await _outcome(task)).noted] for index, task in winners]

    async def _as_completed(self, node: Node, path: Path, given: Feed) -> list[Any]:
        taken: list[Any] = []
        async with _cancelled_after(self._numbered(node, path, given)) as tasks:
            for arrival in asyncio.as_completed(tasks):
                taken.append(await arrival)
                taken[-1].append(await self._take(path, *taken[-1]))
        return taken

    async def _queue(self, node: Node, path: Path, given: Feed) -> list[Any]:
        queue: Items = asyncio.Queue()
        taken: list[Any] = []

        async def consume() -> None:
            while (item := await queue.get()) is not None:
                taken.append(item)
                item.append(await self._take(path, *item))

        async with _cancelled_after([consume(), consume()]) as consumers:
            async with _cancelled_after(self._numbered(node, path, given, into=queue)) as parts:
                await asyncio.gather(*parts)
            for _ in consumers:
                queue.put_nowait(None)
            await asyncio.gather(*consumers)
        return taken

    async def _take(self, path: Path, index: int, noted: object) -> str:
        name = self._name(path, f" takes {index}")
        return await self._ctx.durable(self._functions.work, name, feed(noted))

    async def _timeout(self, node: Node, path: Path, given: Feed) -> Any:  # noqa: ANN401
        hangs = self._ctx.durable(self._functions.hang, self._name(path, " hangs"))
        try:
            if len(path) % 2:
                await asyncio.wait_for(hangs, HANGS_FOR)
            else:
                async with asyncio.timeout(HANGS_FOR):
                    await hangs
        except TimeoutError:
            # On record before anything follows from it: no journal knows when a timer fired.
            name = self._name(path, " instead")
            instead = await self._ctx.durable(self._functions.work, name, given)
            return await self.visit(node.parts[0], (*path, 0), feed(given, instead))

    async def _recorded_timeout(self, node: Node, path: Path, given: Feed) -> Any:  # noqa: ANN401
        try:
            async with self._ctx.timeout(HANGS_FOR):
                await self._ctx.durable(self._functions.hang, self._name(path, " hangs"))
        except TimeoutError:
            return await self.visit(node.parts[0], (*path, 0), given)

    async def _cancel(self, node: Node, path: Path, given: Feed) -> list[Any]:
        first, second = self._visits(node, path, given)
        async with _cancelled_after([first]) as tasks:
            noted = (await _outcome(second)).noted
        return [(await _outcome(tasks[0])).noted, noted]

    async def _caught(self, node: Node, path: Path, given: Feed) -> list[Any]:
        return (await _outcome(self.visit(node.parts[0], (*path, 0), given))).noted

    _does: ClassVar[dict[Kind, Callable[["Performance", Node, Path, Feed], Given]]] = {
        Kind.CALL: _call,
        Kind.REFUSED_CALL: _refused_call,
        Kind.IDLE: _idle,
        Kind.NAP: _nap,
        Kind.SIGNAL: _signal,
        Kind.UPGRADED: _upgraded,
        Kind.RAISE: _raise,
        Kind.SEQUENCE: _sequence,
        Kind.GATHER: _gather,
        Kind.TASK_GROUP: _task_group,
        Kind.RACE: _race,
        Kind.AS_COMPLETED: _as_completed,
        Kind.QUEUE: _queue,
        Kind.TIMEOUT: _timeout,
        Kind.RECORDED_TIMEOUT: _recorded_timeout,
        Kind.CANCEL: _cancel,
        Kind.CAUGHT: _caught,
    }


@asynccontextmanager
async def _cancelled_after(parts: list[Given]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Tasks of these, cancelled when the block is left, and ended when this returns."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _outcome(part: Awaitable[Any]) -> Outcome:
    """What something awaited comes to; a task that was cancelled is no error of its reader."""
    if isinstance(part, asyncio.Task) and part.cancelled():
        return CANCELLED
    try:
        return returned(await part)
    except (RefusedError, ExceptionGroup) as error:
        return failed(_texts(error))


def _texts(error: BaseException) -> list[str]:
    """The texts of an error, or of all in a group."""
    if isinstance(error, BaseExceptionGroup):
        return [text for part in error.exceptions for text in _texts(part)]
    return [str(error)]


def agent_of(trees: Mapping[str, Node], functions: Functions, witness: Witness) -> Agent:
    """An agent that does what the tree of a run says, and puts out what it came to."""

    async def act(_: InputEvent[Any], ctx: RunnerContext) -> None:
        with acting_as(ctx.run_id):
            performance = Performance(ctx, functions, witness)
            ctx.output(await performance.visit(trees[origin(ctx.run_id)], (), feed()))

    return Agent("tree").add_action("act", InputEvent, act)
