"""Which run may start next: order per key, fairness between keys, a bound on the whole.

Rule 1: of one key, one run at a time, in the order of their turns. A turn is the run's number,
which grows with the order of acceptance; a run that is retried gets a new one. Rule 2: keys
take turns: a key whose run has ended goes to the end of the line, so that a busy key delays
nobody by more than one run. Rule 3: of one key only the next few runs are kept in memory; the
rest waits in the store, and `hungry` names the keys whose next runs have to be read.

This file decides; it starts nothing and waits for nothing.
"""

from collections import deque
from collections.abc import Iterable

__all__ = ["Scheduler"]

MAX_KEPT_PER_KEY = 64


class _KeyLine:
    """The runs of one key that wait for their turn."""

    __slots__ = ("has_more_stored", "has_spilled", "is_away", "is_held", "last_kept", "numbers")

    def __init__(self) -> None:
        self.numbers: list[int] = []
        """Few (`MAX_KEPT_PER_KEY`), and mostly none: an empty deque would take 600 bytes."""
        self.is_held = False
        self.is_away = False
        """Whether the run that holds it has left memory."""
        self.has_more_stored = False
        self.has_spilled = False
        self.last_kept = 0


class Scheduler:
    """Decides what starts; told what was accepted and what ended.

    Args:
        max_concurrent_runs: Most runs at the same time, at least 1.
    """

    def __init__(self, max_concurrent_runs: int) -> None:
        self._free = max_concurrent_runs
        self._lines: dict[str, _KeyLine] = {}
        self._ready: deque[str] = deque()
        self._hungry: set[str] = set()
        self._running = 0
        self._being_fed = 0
        self._is_paused = False
        self._paused: set[str] = set()
        self._aside: set[str] = set()
        """Keys of which a run could start if they were not paused."""

    @property
    def waiting_count(self) -> int:
        """Runs kept in memory that wait for their turn."""
        return sum(len(line.numbers) for line in self._lines.values())

    @property
    def has_ready(self) -> bool:
        """Whether `next_run` would give a run, if no key is paused."""
        return self._free > 0 and bool(self._ready) and not self._is_paused

    @property
    def is_drained(self) -> bool:
        """Whether nothing is left to do: what waits, waits for a key that is held or paused."""
        may_start = self._ready and not self._is_paused
        return not (self._running or may_start or self._hungry or self._being_fed)

    def offer(self, key: str, number: int) -> bool:
        """A run was accepted; runs of one key are offered in order.

        Returns:
            Whether the run is kept in memory; otherwise it is read from the store in its turn.
        """
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _KeyLine()
            self._ready.append(key)
        elif line.has_more_stored or len(line.numbers) >= MAX_KEPT_PER_KEY:
            line.has_more_stored = line.has_spilled = True
            return False
        line.numbers.append(number)
        line.last_kept = number
        return True

    def next_run(self) -> tuple[str, int] | None:
        """Take the next run that may start, with its key; None where none may."""
        while self.has_ready:
            key = self._ready.popleft()
            if key in self._paused:
                self._aside.add(key)
                continue
            line = self._lines[key]
            self._free -= 1
            self._running += 1
            line.is_held = True
            return key, line.numbers.pop(0)
        return None

    def pause(self, key: str | None) -> None:
        """No further run of the key starts; None: of no key. What runs goes on."""
        if key is None:
            self._is_paused = True
        else:
            self._paused.add(key)

    def unpause(self, key: str | None) -> None:
        """The key goes on, or all that are not paused themselves."""
        if key is None:
            self._is_paused = False
            return
        self._paused.discard(key)
        if key in self._aside:
            self._aside.remove(key)
            self._ready.append(key)

    def finish(self, key: str) -> None:
        """The key's run has ended: the next one of the key may come."""
        self.hold(key)
        self._let_go(key)

    def hold(self, key: str) -> None:
        """The key's run gives its place up and keeps the key: it is parked, or it blocks."""
        assert self._lines[key].is_held, "only a key whose run has started is let go"
        self._free += 1
        self._running -= 1

    def rest(self, key: str) -> None:
        """The key's run only waits: it gives its place up, and is not done."""
        assert self._lines[key].is_held, "only a run that has started can rest"
        self._free += 1

    def wake(self, key: str) -> None:
        """The key's run goes on: it has its place again, even over the bound."""
        assert self._lines[key].is_held, "a run that rests keeps its key"
        self._free -= 1

    def leave(self, key: str, *, is_ordered: bool) -> None:
        """The key's run, which rests, leaves memory until `come_back`; it is not done.

        Args:
            key: The key.
            is_ordered: Whether it keeps the key: others may come that are ordered with it.
        """
        if is_ordered:
            self._lines[key].is_away = True
        else:
            self._let_go(key)

    def away_from_start(self, count: int) -> None:
        """So many runs wait in the store."""
        self._running += count

    def keep_from_start(self, key: str) -> None:
        """One of them keeps its key."""
        self.hold_from_start(key)
        self._lines[key].is_away = True

    def come_back(self, key: str, turn: int, *, at_once: bool) -> bool:
        """A run that had left memory goes on.

        Args:
            key: The key.
            turn: Of the run.
            at_once: Whether it has its place again now, even over the bound, unless its key is
                paused.

        Returns:
            Whether it goes on now. Otherwise `next_run` gives it, before those who are new; it
            may have to wait for others who have got hold of the key of one that kept none.
        """
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _KeyLine()
            line.is_held = line.is_away = True
        was_away, line.is_away = line.is_away, False
        if was_away and at_once and not self._is_paused and key not in self._paused:
            self._free -= 1
            return True
        self._running -= 1
        line.numbers.insert(0, turn)
        if was_away:
            line.is_held = False
            self._ready.appendleft(key)
        return False

    def hold_from_start(self, key: str) -> None:
        """A key that comes from the store with a run that keeps it."""
        line = self._lines.setdefault(key, _KeyLine())
        line.is_held = True
        if line.numbers:
            self._ready.remove(key)  # an earlier run of the key was put back to work

    def resume(self, key: str) -> None:
        """The run that keeps the key goes on: it has its place again, even over the bound."""
        assert self._lines[key].is_held, "only a run that keeps its key can go on with it"
        self._free -= 1
        self._running += 1

    def release(self, key: str) -> None:
        """A key that was held may go on."""
        self._let_go(key)

    def hungry(self) -> list[tuple[str, int]]:
        """Keys whose next runs have to be read from the store, each with the last number read.

        A key is named once; `feed` answers.
        """
        if not self._hungry:
            return []
        named: list[tuple[str, int]] = []
        for key in self._hungry:
            line = self._lines[key]
            line.has_spilled = False
            named.append((key, line.last_kept))
        self._hungry.clear()
        self._being_fed += len(named)
        return named

    def feed(self, key: str, numbers: Iterable[int], *, has_more: bool) -> None:
        """Runs of a hungry key as the store has them.

        Args:
            key: The key.
            numbers: Its next runs in order, behind the last one that was kept.
            has_more: Whether the store may hold still more of them.
        """
        self._being_fed -= 1
        line = self._lines[key]
        line.numbers.extend(numbers)
        # What was accepted while the store was being read may not have been seen there.
        line.has_more_stored = has_more = has_more or line.has_spilled
        if line.numbers:
            line.last_kept = max(line.last_kept, line.numbers[-1])
            self._ready.append(key)
        elif has_more:
            self._hungry.add(key)
        else:
            del self._lines[key]

    def _let_go(self, key: str) -> None:
        line = self._lines[key]
        line.is_held = False
        if line.numbers:
            self._ready.append(key)
        elif line.has_more_stored:
            self._hungry.add(key)
        else:
            del self._lines[key]
