"""The task factory that gives each child task of an action its branch.

Rule 1: a branch is fixed when its task is created, so that it is the same in every replay
whatever the timing. Rule 2: the branch lives on the task, as a thin proxy around its coroutine,
and not in the context: contexts are copied into pools and outlive actions. Rule 3: while a task
of an action makes a step, `Lineage.current` is its branch; at all other times it is None, so
that a callback or a finaliser that happens to run in between belongs to nobody.

A child's name is (calls made in the parent so far, nth of that coroutine's name since, name): a
task that a library starts on its own, under another name, shifts nobody.
"""

import asyncio
import inspect
import random
import sys
import threading
from asyncio import iscoroutine
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from durable_agents.worker._current import CURRENT_CALL, Call
from durable_agents.worker._timers import SetTimers, unwatch, watch

__all__ = ["ActionTasks", "Branch", "InBranch", "Lineage"]

T = TypeVar("T")


class ActionTasks:
    """The asyncio tasks of one action run: the action itself and all that descend from it."""

    __slots__ = ("children", "live", "root", "steps", "timers")

    def __init__(self) -> None:
        self.live = 0
        """Tasks that have not ended."""
        self.steps = 0
        """Steps that they made; unchanged while the action rests."""
        self.children: set[asyncio.Task[Any]] | None = None
        """Tasks that have not ended, without the action's own; None: there never were any."""
        self.root: asyncio.Task[Any] | None = None
        """The action's own task; an eager one has made its first step before it is known."""
        self.timers: SetTimers | None = None
        """Of the loop, that they have set; None: never any."""

    @property
    def make_call(self) -> bool:
        """Whether the function of a durable call runs in any of them."""
        return any(steps.call is not None for steps in self._steps_of_each())

    @property
    def paths(self) -> Generator[str]:
        """The branch of each task that has not ended."""
        return (steps.branch.path for steps in self._steps_of_each())

    def _steps_of_each(self) -> "Generator[InBranch[Any]]":
        for task in (self.root, *(self.children or ())):
            if task is not None and isinstance(steps := task.get_coro(), InBranch):
                yield steps

    def take_in(self, task: asyncio.Task[Any]) -> None:
        """Another one has started."""
        if not task.done():  # an eager task may have ended already
            if self.children is None:
                self.children = set()
            self.children.add(task)
            task.add_done_callback(self.children.discard)

    def cancel(self, *, besides: asyncio.Task[Any] | None = None) -> None:
        """Cancel all of them but one."""
        for task in [self.root, *(self.children or ())]:
            if task is not None and task is not besides:
                task.cancel()


class Branch:
    """One task of an action, as the journal knows it.

    Args:
        tasks: The tasks of the action run.
        path: Empty for the action itself, else the parent's path and the child's name.
        seed: What chance in this branch is made of; the same on every replay.
    """

    __slots__ = (
        "_children",
        "_prepared",
        "_random",
        "next_position",
        "path",
        "seed",
        "send_count",
        "tasks",
        "time",
    )

    def __init__(self, tasks: ActionTasks, path: str, seed: str, time: float) -> None:
        self.tasks = tasks
        self.path = path
        self.seed = seed
        self.next_position = 0
        self.send_count = 0
        self.time = time
        """When the newest outcome handed to this branch was recorded."""
        self._children: dict[str, int] | None = None
        self._prepared: dict[int, Branch] | None = None
        self._random: random.Random | None = None

    @property
    def random(self) -> random.Random:
        """Chance that comes out the same on every replay."""
        if self._random is None:
            # A str seed is hashed with SHA-512, whatever the process's hash seed.
            self._random = random.Random(f"{self.seed}{self.path}")  # noqa: S311 - not a secret
        return self._random

    def move_on(self, time: float) -> None:
        """An outcome that was recorded at this time is handed to the branch."""
        self.time = max(self.time, time)

    def one_of(self, coroutine: object, meant: object) -> "Branch":
        """The branch of one of several tasks that are started at once, in any order.

        Args:
            coroutine: What the task runs.
            meant: All that is started; a list or tuple says in which order it was meant.
        """
        if self._prepared is None:
            self._prepared = {}
        if id(coroutine) not in self._prepared and isinstance(meant, (list, tuple)):
            for one in cast("Sequence[object]", meant):
                if iscoroutine(one) and id(one) not in self._prepared:
                    self._prepared[id(one)] = self.child(_name_of(one))
        return self._prepared.pop(id(coroutine), None) or self.child(_name_of(coroutine))

    def child(self, name: str) -> "Branch":
        """The branch of a task that this one starts now."""
        prefix = f"{self.next_position}."
        if self._children is None:
            self._children = {}
        nth = self._children.get(prefix + name, 0)
        self._children[prefix + name] = nth + 1
        # The separator of branches must not come from a coroutine's name.
        path = f"{self.path}/{prefix}{nth}.{name.replace('/', '|')}"
        return Branch(self.tasks, path, self.seed, self.time)


class Lineage:
    """Who descends from whom, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._before: Any = None
        self._factory = self._make_task
        self._is_installed = False
        self.thread = threading.get_ident()
        """The loop's."""
        self._is_alone = False
        self.current: InBranch[Any] | None = None

    def install(self) -> None:
        """Put the task factory on the loop, in front of the one that is there."""
        self._before = self._loop.get_task_factory()
        self._loop.set_task_factory(self._factory)
        watch(self._loop, self)
        self._is_installed = True
        makes_tasks = getattr(type(self._loop), "create_task", None)
        self._is_alone = (
            self._before is None and makes_tasks is asyncio.BaseEventLoop.create_task
        )

    def uninstall(self) -> None:
        """Take the task factory off the loop again.

        Where another one has been put in front of it since, it stays and passes tasks on, until
        that one, if it is of another worker, goes and takes it along.
        """
        self._is_installed = False
        unwatch(self._loop, self)
        if self._loop.get_task_factory() is not self._factory:
            return
        self._loop.set_task_factory(self.still_wanted())

    def still_wanted(self) -> Any:
        """The factory that was there before, past those of workers that have gone."""
        if self._is_installed:
            return self._factory
        behind = getattr(self._before, "__self__", None)
        return behind.still_wanted() if isinstance(behind, Lineage) else self._before

    def timer_set(self, handle: asyncio.TimerHandle) -> None:
        """A timer of the loop was set; it counts where the code of an action did it."""
        steps = self.current
        if steps is None or steps.call is not None or steps.sets_timers_of_ours:
            return
        tasks = steps.branch.tasks
        if tasks.timers is None:
            tasks.timers = SetTimers()
        tasks.timers.add(handle)

    def here(self) -> "InBranch[Any] | None":
        """The task of an action that makes a step now; None outside, and in other threads."""
        current = self.current
        if current is not None and threading.get_ident() != self.thread:
            return None
        return current

    def start(
        self,
        coroutine: Coroutine[Any, Any, T],
        branch: Branch,
        spawn: Callable[..., asyncio.Task[T]],
        name: str,
    ) -> asyncio.Task[T]:
        """Start a task in a branch that is there already; the caller notes whose it is.

        Args:
            coroutine: What the task does.
            branch: The branch that its steps are made in.
            spawn: `create_task` of what keeps and awaits the task; called where no action runs.
            name: Name of the task.
        """
        return spawn(InBranch(coroutine, branch, self), name=name)

    def task(
        self, coroutine: Coroutine[Any, Any, T], *, name: str, context: Context
    ) -> asyncio.Task[T]:
        """A task of the worker, whoever starts it."""
        if self._is_alone and self._loop.get_task_factory() is self._factory:
            # What the loop would do, without asking two factories: each run passes here.
            return asyncio.Task(coroutine, loop=self._loop, name=name, context=context)
        return self.outside(
            lambda: self._loop.create_task(coroutine, name=name, context=context)
        )

    def outside(self, start: Callable[[], T]) -> T:
        """Call a function as if no action ran: what it starts belongs to the worker."""
        current, self.current = self.current, None
        try:
            return start()
        finally:
            self.current = current

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> Any:
        parent = self.current
        if parent is None:
            return self._plain_task(loop, coroutine, options)
        if parent.call is not None:
            return self._plain_task(loop, coroutine, _within(parent.call, options))
        branch = _branch_of_child(parent.branch, coroutine)
        task = self._plain_task(loop, InBranch(coroutine, branch, self), options)
        branch.tasks.take_in(task)
        return task

    def _plain_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, options: dict[str, Any]
    ) -> Any:
        if self._before is None:
            return asyncio.Task(coroutine, loop=loop, **options)
        return self._before(loop, coroutine, **options)


def _within(call: Call, options: dict[str, Any]) -> dict[str, Any]:
    """Options of a task that a durable function starts: it belongs to the call, to no branch.

    The context of its parent may be shared with another task, and then say otherwise.
    """
    if options.get("context") is None:
        context = copy_context()
        context.run(CURRENT_CALL.set, call)
        options["context"] = context
    return options


def _branch_of_child(parent: Branch, coroutine: Any) -> Branch:
    """The branch of a task that is being made: where asyncio makes it in a way of its own, too.

    `asyncio.wait_for` of Python 3.11 makes a task, from 3.12 on it makes none. So that a
    journal means the same on both, that task shares its parent's branch, which only waits.

    `asyncio.as_completed` makes its tasks in the order of a set, and so of addresses in memory;
    its own argument says in which order they were meant.
    """
    frame = inspect.currentframe()
    for _ in range(8):
        frame = None if frame is None else frame.f_back
        if frame is None:
            break
        if frame.f_code is _WAIT_FOR:
            return parent
        if frame.f_code is _AS_COMPLETED:
            return parent.one_of(coroutine, frame.f_locals[_ITS_ARGUMENT])
    return parent.child(_name_of(coroutine))


def _name_of(coroutine: object) -> str:
    return getattr(coroutine, "__qualname__", None) or type(coroutine).__qualname__


_IS_311 = sys.version_info[:2] == (3, 11)
_WAIT_FOR = asyncio.wait_for.__code__ if _IS_311 else None
_ITERATOR: Any = getattr(asyncio.tasks, "_AsCompletedIterator", None)  # from 3.13 on
_AS_COMPLETED = (asyncio.as_completed if _ITERATOR is None else _ITERATOR.__init__).__code__
_ITS_ARGUMENT = "fs" if _ITERATOR is None else "aws"


class InBranch(Coroutine[Any, Any, T], Generic[T]):
    """A coroutine whose steps are made in a branch.

    Everything else of a coroutine (`cr_frame`, `cr_running`, `__qualname__` ...) is the wrapped
    one's, so that debuggers, anyio and `Task.get_stack` see what they expect.
    """

    __slots__ = (
        "__weakref__",
        "_coroutine",
        "_lineage",
        "_send",
        "branch",
        "call",
        "sets_timers_of_ours",
    )

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], branch: Branch, lineage: Lineage
    ) -> None:
        self._coroutine = coroutine
        self._send = coroutine.send
        self._lineage = lineage
        self.branch = branch
        self.call: Call | None = None
        """The durable call whose function this task runs, if it runs one."""
        self.sets_timers_of_ours = False
        """Whether it is in a durable wait, whose moment is on record."""
        branch.tasks.live += 1

    def send(self, value: Any, /) -> Any:
        # Each step of each task of an action passes here.
        lineage = self._lineage
        before = lineage.current
        lineage.current = self
        tasks = self.branch.tasks
        tasks.steps += 1
        try:
            return self._send(value)
        except BaseException:
            tasks.live -= 1
            raise
        finally:
            lineage.current = before

    def throw(
        self,
        kind: Any,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> Any:
        lineage = self._lineage
        before = lineage.current
        lineage.current = self
        tasks = self.branch.tasks
        tasks.steps += 1
        try:
            # The form with three arguments is deprecated; a task passes one.
            if value is None and traceback is None:
                return self._coroutine.throw(kind)
            return self._coroutine.throw(kind, value, traceback)
        except BaseException:
            tasks.live -= 1
            raise
        finally:
            lineage.current = before

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, None, T]:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)

    def __repr__(self) -> str:
        return f"<{self._coroutine!r} in branch root{self.branch.path}>"
