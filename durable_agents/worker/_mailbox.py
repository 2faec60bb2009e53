"""The signals of one run: those that came, and those who wait for one."""

import asyncio
from collections import deque
from collections.abc import Callable

from durable_agents.journal import SignalState, is_promise

__all__ = ["Mailbox"]

Check = Callable[[object], object]
"""Raises where a value is none that a waiting action can take."""


class Mailbox:
    """Hands each signal to one who waits for its name: first come, first served.

    What completes a promise is there for everybody who waits for it, now and later.

    Args:
        signals: Those on record; kept, and added to.
    """

    __slots__ = ("_ids", "_promised", "_signals", "_waiting")

    def __init__(self, signals: list[SignalState]) -> None:
        self._signals = signals
        self._ids = {signal.signal_id for signal in signals if signal.signal_id}
        self._waiting: dict[str, deque[tuple[asyncio.Future[int], Check]]] = {}
        self._promised: dict[str, Check] = {}

    def promise(self, name: str, check: Check) -> None:
        """From now on a promise is known to be completed by a signal of this name."""
        self._promised[name] = check

    def admit(self, signal_id: str) -> bool:
        """Whether a signal of this id is a new one; from now on it is known."""
        if signal_id in self._ids:
            return False
        if signal_id:
            self._ids.add(signal_id)
        return True

    def forget(self, signal_id: str) -> None:
        """A signal of this id did not become durable: it may come again."""
        self._ids.discard(signal_id)

    def check(self, name: str, value: object) -> None:
        """Let who waits for this name, or made it, see a value before it is put on record.

        Raises:
            InputError: It is none that can be taken.
        """
        if name in self._promised:
            self._promised[name](value)
            return
        for future, check in self._waiting.get(name, ()):
            if not future.done():
                check(value)
                return

    def receive(self, signal: SignalState) -> None:
        """A signal has become durable."""
        self._signals.append(signal)
        self._hand_over(len(self._signals) - 1)

    def give_back(self, number: int) -> None:
        """Who was handed a signal does not take it: it is the next one's."""
        self._signals[number].is_taken = False
        self._hand_over(number)

    def value(self, number: int) -> SignalState:
        """The signal of this number."""
        return self._signals[number]

    def expect(self, name: str, check: Check) -> asyncio.Future[int]:
        """A future for the number of the next signal of this name, which is then taken.

        Whoever gives it up calls `withdraw`.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(name, deque())
        waiting.append((future, check))
        if len(waiting) == 1:
            for number, signal in enumerate(self._signals):
                if signal.name == name and (not signal.is_taken or is_promise(name)):
                    self._hand_over(number)
                    break
        return future

    def expects(self, name: str) -> bool:
        """Whether anybody waits for signals of this name, or has made a promise of it."""
        return name in self._waiting or name in self._promised

    def withdraw(self, name: str, future: asyncio.Future[int]) -> None:
        """Nobody waits for this future any more; what it was handed is the next one's."""
        if future.done() and not future.cancelled():
            self.give_back(future.result())
            return
        future.cancel()
        left = deque(one for one in self._waiting.get(name, ()) if one[0] is not future)
        if left:
            self._waiting[name] = left
        else:
            self._waiting.pop(name, None)

    def _hand_over(self, number: int) -> None:
        signal = self._signals[number]
        waiting = self._waiting.get(signal.name)
        while waiting:
            future, _ = waiting.popleft()
            if not waiting:
                del self._waiting[signal.name]
            if not future.done():
                signal.is_taken = True
                future.set_result(number)
                if not is_promise(signal.name):
                    return
