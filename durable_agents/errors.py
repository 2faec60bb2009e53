"""Every exception of the package, in one tree.

    DurableAgentsError               catch all of ours
    ├─ DefinitionError               the author's: found before anything runs; fix the code
    │  ├─ DuplicateNameError
    │  ├─ UnknownResourceError
    │  ├─ TriggerSyntaxError
    │  └─ UnsupportedCallableError
    ├─ NondeterminismError           the author's: the action did not repeat its recorded calls
    ├─ ForbiddenInDurableCallError   memory, send, output or durable inside a durable function
    ├─ OutsideActionError            the runner context used where its action does not run
    ├─ SerializationError
    │  ├─ EncodeError
    │  ├─ DecodeError
    │  └─ PayloadTooLargeError
    ├─ DurableCallError              the outcome of user work, live or replayed
    │  ├─ CallFailedError
    │  ├─ CallTimeoutError
    │  ├─ RetriesExhaustedError
    │  ├─ InDoubtError
    │  └─ PromiseFailedError
    ├─ RunError                      raised by Run.result() and by the verbs that steer runs
    │  ├─ RunFailedError
    │  ├─ RunCancelledError
    │  ├─ RunParkedError
    │  ├─ RunStateError
    │  └─ UnknownRunError
    ├─ InputError                    an input that does not fit
    ├─ StoreError                    the environment's
    │  ├─ StoreUnavailableError
    │  ├─ StoreOwnedError
    │  ├─ StoreConflictError
    │  ├─ StoreFullError
    │  ├─ StoreDamagedError
    │  └─ StoreVersionError
    └─ EngineError

    TerminalError, NotExecuted, ReconcilerUnavailable  raised by user code, to tell us something
    RunAborted(BaseException)                          the runtime ends this run; not an error

Rule 1: fields go into `args`, text is made in `__str__`, so that each error survives pickling
(`tests/public/test_errors.py`). Rule 2: a message says what was found, what was expected and
the next move. Rule 3: nothing but the standard library is imported here: all rooms stand on
this one.
"""

from typing import ClassVar

__all__ = [
    "CallFailedError",
    "CallTimeoutError",
    "DecodeError",
    "DefinitionError",
    "DuplicateNameError",
    "DurableAgentsError",
    "DurableCallError",
    "EncodeError",
    "EngineError",
    "ForbiddenInDurableCallError",
    "InDoubtError",
    "InputError",
    "NondeterminismError",
    "NotExecuted",
    "OutsideActionError",
    "PayloadTooLargeError",
    "PromiseFailedError",
    "ReconcilerUnavailable",
    "RetriesExhaustedError",
    "RunAborted",
    "RunCancelledError",
    "RunError",
    "RunFailedError",
    "RunParkedError",
    "RunStateError",
    "SerializationError",
    "StoreConflictError",
    "StoreDamagedError",
    "StoreError",
    "StoreFullError",
    "StoreOwnedError",
    "StoreUnavailableError",
    "StoreVersionError",
    "TerminalError",
    "TriggerSyntaxError",
    "UnknownResourceError",
    "UnknownRunError",
    "UnsupportedCallableError",
]


class DurableAgentsError(Exception):
    """Any error that this package raises on its own account."""

    retryable: ClassVar[bool] = False
    """Whether trying the same thing again later can help."""


class DefinitionError(DurableAgentsError):
    """The agent is wrongly declared; nothing has run.

    Args:
        problems: One sentence for each problem that was found, all at once.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return f"{len(self.problems)} problems:" + "".join(f"\n  - {p}" for p in self.problems)


class DuplicateNameError(DefinitionError):
    """Two things of one agent carry the same name; rename one of them."""


class UnknownResourceError(DefinitionError):
    """No resource of that kind and name was added to the agent."""


class TriggerSyntaxError(DefinitionError):
    """A trigger or condition cannot be understood as written."""


class UnsupportedCallableError(DefinitionError):
    """The callable has no stable identity: a call of it cannot be recognized after a crash."""


class NondeterminismError(DurableAgentsError):
    """The action did not repeat the durable calls that its journal holds.

    Args:
        run_id: The run that diverged.
        difference: What was recorded and what the code does now, in one sentence.
    """

    def __init__(self, run_id: str, difference: str) -> None:
        super().__init__(run_id, difference)
        self.run_id = run_id
        self.difference = difference

    def __str__(self) -> str:
        return f"run {self.run_id} does not repeat its recorded calls: {self.difference}"


class ForbiddenInDurableCallError(DurableAgentsError):
    """The runner context was used inside a durable function.

    A replay skips the function's body, so what it did with the context would be lost.

    Args:
        verb: What was tried: `"send"`, `"durable"`, a memory operation ...
        function: Id of the durable function that was running.
    """

    def __init__(self, verb: str, function: str) -> None:
        super().__init__(verb, function)
        self.verb = verb
        self.function = function

    def __str__(self) -> str:
        return (
            f"{self.verb} is not allowed inside the durable function {self.function}: "
            "a replay skips its body. Return the value and use the context in the action."
        )


class OutsideActionError(DurableAgentsError):
    """The runner context was used by a task or thread that does not belong to its action.

    Args:
        verb: What was tried: `"durable"`, `"send"` ...
        hint: Why the caller does not belong to the action, and what to do.
    """

    def __init__(self, verb: str, hint: str) -> None:
        super().__init__(verb, hint)
        self.verb = verb
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.verb} was refused, nothing was run: {self.hint}"


class SerializationError(DurableAgentsError):
    """A value could not be turned into bytes, or bytes into a value."""


class EncodeError(SerializationError):
    """A value cannot be recorded.

    Args:
        what: The value's part: `"result of shop:charge"`, `"argument 'card' of shop:charge"`.
        type_name: Type of the value, or of the part of it that is in the way.
        problem: Why it cannot be recorded.
        remedy: What to do about it.
    """

    def __init__(self, what: str, type_name: str, problem: str, remedy: str) -> None:
        super().__init__(what, type_name, problem, remedy)
        self.what = what
        self.type_name = type_name
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return (
            f"{self.what} ({self.type_name}) cannot be recorded: {self.problem}. {self.remedy}"
        )


class DecodeError(SerializationError):
    """Recorded bytes cannot be turned back into a value; they stay as they are.

    Args:
        encoding: How the payload says that it is encoded.
        problem: What is in the way, and what to do.
    """

    def __init__(self, encoding: str, problem: str) -> None:
        super().__init__(encoding, problem)
        self.encoding = encoding
        self.problem = problem

    def __str__(self) -> str:
        return f"a recorded value ({self.encoding}) cannot be decoded: {self.problem}"


class PayloadTooLargeError(SerializationError):
    """A value is larger than the store accepts.

    Args:
        what: The value's part: `"result of shop:charge"`.
        size: Size of the encoded value in bytes.
        limit: The largest size allowed, in bytes.
    """

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(what, size, limit)
        self.what = what
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"{self.what} takes {self.size:,} bytes, the limit is {self.limit:,}. Return a "
            "reference (a path, a key), or raise `max_payload_bytes` in WorkerSettings."
        )


class DurableCallError(DurableAgentsError):
    """A durable call did not return a value."""


class CallFailedError(DurableCallError):
    """A recorded failure whose exception class cannot be rebuilt in this process.

    Args:
        type_name: `module:qualname` of the original exception.
        text: Its message.
        formatted_traceback: Its traceback as text; empty where none was kept.
    """

    def __init__(self, type_name: str, text: str, formatted_traceback: str = "") -> None:
        super().__init__(type_name, text, formatted_traceback)
        self.type_name = type_name
        self.text = text
        self.formatted_traceback = formatted_traceback

    def __str__(self) -> str:
        return f"{self.type_name}: {self.text}" if self.text else self.type_name


class CallTimeoutError(DurableCallError, TimeoutError):
    """A durable call took longer than its declared `timeout`.

    Args:
        function: Id of the durable function.
        seconds: The timeout, in seconds.
    """

    def __init__(self, function: str, seconds: float) -> None:
        super().__init__(function, seconds)
        self.function = function
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"{self.function} did not finish within {self.seconds:g} s; its effect is in doubt"
        )


class RetriesExhaustedError(DurableCallError):
    """The recorded attempts of earlier lives already used up the retry budget.

    Args:
        function: Id of the durable function.
        attempts: Attempts that were recorded.
    """

    def __init__(self, function: str, attempts: int) -> None:
        super().__init__(function, attempts)
        self.function = function
        self.attempts = attempts

    def __str__(self) -> str:
        return f"{self.function} failed {self.attempts} times; no attempts are left"


class InDoubtError(DurableCallError):
    """A call declared `on_interrupt="fail"` was begun and never settled.

    Nobody knows whether it took effect. Look it up outside, then `retry` or `discard` the run.

    Args:
        function: Id of the durable function.
        place: Branch and position of the call.
    """

    def __init__(self, function: str, place: str) -> None:
        super().__init__(function, place)
        self.function = function
        self.place = place

    def __str__(self) -> str:
        return (
            f"{self.function} at {self.place} was begun and never settled: it may or may not "
            "have taken effect. Look it up outside before repeating it."
        )


class PromiseFailedError(DurableCallError):
    """A promise was failed from outside, by a text and no exception.

    Args:
        text: Why, as whoever failed it says.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"the promise was failed: {self.text}"


class RunError(DurableAgentsError):
    """A run did not complete.

    Args:
        run_id: The run.
        reason: Why, in one sentence.
    """

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(run_id, reason)
        self.run_id = run_id
        self.reason = reason

    def __str__(self) -> str:
        return f"run {self.run_id} did not complete: {self.reason}"


class RunFailedError(RunError):
    """An action of the run failed for good; `__cause__` is its exception."""

    def __str__(self) -> str:
        return f"run {self.run_id} failed: {self.reason}"


class RunCancelledError(RunError):
    """The run was cancelled by a person or by its parent."""

    def __str__(self) -> str:
        return f"run {self.run_id} was cancelled: {self.reason}"


class RunParkedError(RunError):
    """The run waits for a person."""

    def __str__(self) -> str:
        return f"run {self.run_id} is parked: {self.reason}"


class RunStateError(RunError):
    """What was asked for does not go with the state of the run; nothing was changed."""

    def __str__(self) -> str:
        return f"run {self.run_id}: {self.reason}"


class UnknownRunError(RunError):
    """The store has no run of this id: it was never accepted, or it was pruned."""

    def __init__(
        self, run_id: str, reason: str = "the store has no run of this id; list them by `runs`"
    ) -> None:
        super().__init__(run_id, reason)

    def __str__(self) -> str:
        return f"run {self.run_id}: {self.reason}"


class InputError(DurableAgentsError):
    """An input does not have the type that the agent declares.

    Args:
        problem: What was found and what was expected, with the field's path.
        place: Where it came from (`"reviews.jsonl line 12"`); empty for a value in memory.
    """

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(problem, place)
        self.problem = problem
        self.place = place

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}" if self.place else self.problem


class StoreError(DurableAgentsError):
    """The store cannot do what was asked.

    Args:
        store: The store's path or name.
        problem: What was found, what was expected, and the next move.
    """

    def __init__(self, store: str, problem: str) -> None:
        super().__init__(store, problem)
        self.store = store
        self.problem = problem

    def __str__(self) -> str:
        return f"store {self.store}: {self.problem}"


class StoreUnavailableError(StoreError):
    """The store cannot be reached, opened or written; trying again later may help."""

    retryable: ClassVar[bool] = True


class StoreOwnedError(StoreError):
    """Another worker owns the store; stop it, or use that one."""


class StoreConflictError(StoreError):
    """Another worker took this run over; stop the run here, do not retry."""


class StoreFullError(StoreError):
    """The disk or the quota is full; nothing recorded is lost, make space and go on."""

    retryable: ClassVar[bool] = True


class StoreDamagedError(StoreError):
    """The store holds something that we did not write; restore it from a backup."""


class StoreVersionError(StoreError):
    """The schema of the store is not the one that this code knows; its text says what to do."""


class EngineError(DurableAgentsError):
    """The engine that feeds the agent reported an error."""


class TerminalError(Exception):
    """Raise it in a durable function to say: do not retry me."""


class NotExecuted(Exception):
    """Raise it in a reconciler to say: the call never took effect, run it."""


class ReconcilerUnavailable(Exception):
    """Raise it in a reconciler to say: the outside cannot be asked now, try later."""


class RunAborted(BaseException):
    """The runtime ends this run here: shutdown, a lost lease, a run that is parked.

    It derives from `BaseException`, so that an `except Exception` in an action cannot swallow
    it. Nothing about it is recorded; let it pass.

    Args:
        reason: Why the run ends here.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the run is stopped here: {self.reason}"
