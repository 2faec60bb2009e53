"""Durable execution for asyncio: actions that survive crashes.

Every call with a cost or a side effect goes through `await ctx.durable(fn, *args)`: its result
is on disk before the await returns, and a replay after a crash hands it back without calling
anything.
"""

from durable_agents._exports import publish
from durable_agents.actions import action
from durable_agents.agent import Agent
from durable_agents.clock import Clock, SystemClock
from durable_agents.context import CallOptions, RunnerContext
from durable_agents.errors import (
    CallFailedError,
    CallTimeoutError,
    DecodeError,
    DefinitionError,
    DuplicateNameError,
    DurableAgentsError,
    DurableCallError,
    EncodeError,
    EngineError,
    ForbiddenInDurableCallError,
    InDoubtError,
    InputError,
    NondeterminismError,
    NotExecuted,
    OutsideActionError,
    PayloadTooLargeError,
    ReconcilerUnavailable,
    RetriesExhaustedError,
    RunAborted,
    RunCancelledError,
    RunError,
    RunFailedError,
    RunParkedError,
    RunStateError,
    SerializationError,
    StoreConflictError,
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreOwnedError,
    StoreUnavailableError,
    StoreVersionError,
    TerminalError,
    TriggerSyntaxError,
    UnknownResourceError,
    UnknownRunError,
    UnsupportedCallableError,
)
from durable_agents.events import (
    DynamicEvent,
    Event,
    EventRecord,
    EventType,
    InputEvent,
    OutputEvent,
)
from durable_agents.journal import durable
from durable_agents.limits import AdaptiveLimit
from durable_agents.memory import MemoryObject, MemoryRef
from durable_agents.retry import RetryPolicy
from durable_agents.serialization import Codec, Payload
from durable_agents.store import InMemoryStore, SqliteStore, Store
from durable_agents.worker import (
    CallInfo,
    Output,
    Run,
    Worker,
    WorkerSettings,
    WorkerStatistics,
    arun_agent,
    current_call,
    run_agent,
)

__all__ = [
    "AdaptiveLimit",
    "Agent",
    "CallFailedError",
    "CallInfo",
    "CallOptions",
    "CallTimeoutError",
    "Clock",
    "Codec",
    "DecodeError",
    "DefinitionError",
    "DuplicateNameError",
    "DurableAgentsError",
    "DurableCallError",
    "DynamicEvent",
    "EncodeError",
    "EngineError",
    "Event",
    "EventRecord",
    "EventType",
    "ForbiddenInDurableCallError",
    "InDoubtError",
    "InMemoryStore",
    "InputError",
    "InputEvent",
    "MemoryObject",
    "MemoryRef",
    "NondeterminismError",
    "NotExecuted",
    "Output",
    "OutputEvent",
    "OutsideActionError",
    "Payload",
    "PayloadTooLargeError",
    "ReconcilerUnavailable",
    "RetriesExhaustedError",
    "RetryPolicy",
    "Run",
    "RunAborted",
    "RunCancelledError",
    "RunError",
    "RunFailedError",
    "RunParkedError",
    "RunStateError",
    "RunnerContext",
    "SerializationError",
    "SqliteStore",
    "Store",
    "StoreConflictError",
    "StoreDamagedError",
    "StoreError",
    "StoreFullError",
    "StoreOwnedError",
    "StoreUnavailableError",
    "StoreVersionError",
    "SystemClock",
    "TerminalError",
    "TriggerSyntaxError",
    "UnknownResourceError",
    "UnknownRunError",
    "UnsupportedCallableError",
    "Worker",
    "WorkerSettings",
    "WorkerStatistics",
    "action",
    "arun_agent",
    "current_call",
    "durable",
    "run_agent",
]

publish(globals(), __all__)
