"""Runs that only wait: their places are for others until they go on.

A run that sleeps for a month holds its key, as it must, and nothing else: a few hundred of them
would otherwise fill `max_concurrent_runs` and nothing would run any more.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context

from durable_agents.scheduler import Scheduler
from durable_agents.worker._run import ActiveRun

__all__ = ["Resting"]

_QUIET_SECONDS = 0.05
"""A run rests when it has made no step for so long: what is over sooner is not worth it."""


class Resting:
    """The runs of a worker that rest, and those that may.

    Args:
        scheduler: The worker's.
        on_rest: Called when some have come to rest: their places have become free.
    """

    def __init__(self, scheduler: Scheduler, on_rest: Callable[[], None]) -> None:
        self._scheduler = scheduler
        self._on_rest = on_rest
        self._loop = asyncio.get_running_loop()
        self._at_rest: OrderedDict[ActiveRun, None] = OrderedDict()
        """Those who rest longest come first; a plain dict looks through all that have gone."""
        self._stays: set[ActiveRun] = set()
        """Those of them that cannot leave memory as long as they rest."""
        self._watched: dict[ActiveRun, int] = {}
        """Runs that wait for something, each with its steps when it was last looked at."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """How many rest."""
        return len(self._at_rest) + len(self._stays)

    def waits(self, run: ActiveRun) -> None:
        """A run waits for time or a signal, perhaps among other things."""
        self._watched[run] = run.steps
        if self._timer is None:
            self._look_later()

    def goes_on(self, run: ActiveRun) -> None:
        """What a run has waited for has come, or the run has ended."""
        self._watched.pop(run, None)
        if run in self._at_rest:
            del self._at_rest[run]
        elif run in self._stays:
            self._stays.remove(run)
        else:
            return
        self._scheduler.wake(run.key)

    def take_oldest(self, may_leave: Callable[[ActiveRun], bool]) -> ActiveRun | None:
        """Of those that may leave memory, the one that has rested longest: it rests no more.

        Its place stays free; None where there is none. Who may not leave is not asked again
        until it has moved.
        """
        while self._at_rest:
            run, _ = self._at_rest.popitem(last=False)
            if may_leave(run):
                return run
            self._stays.add(run)
        return None

    def reconsider(self, run: ActiveRun) -> None:
        """What kept a run that rests in memory is gone: it may leave, after the others."""
        if run in self._stays:
            self._stays.remove(run)
            self._at_rest[run] = None

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(_QUIET_SECONDS, self._look, context=Context())

    def _look(self) -> None:
        self._timer = None
        before = self.count
        for run, steps in list(self._watched.items()):
            if run.steps != steps or not run.only_waits:
                self._watched[run] = run.steps
                continue
            del self._watched[run]
            self._at_rest[run] = None
            self._scheduler.rest(run.key)
            run.rests()
        if self._watched:
            self._look_later()
        if self.count > before:
            self._on_rest()
