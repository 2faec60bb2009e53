"""The names that users may rely on: a change of this list is a change of the interface."""

import importlib
import inspect

import pytest

import durable_agents

NAMES = [
    "AdaptiveLimit",
    "Agent",
    "Approval",
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
    "Promise",
    "PromiseFailedError",
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


def test_the_package_exports_these_names_and_no_others() -> None:
    """`from durable_agents import *` gives what is written down here."""
    assert sorted(durable_agents.__all__) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    """From the front door, under which it also names itself, and with a docstring."""
    exported = getattr(importlib.import_module("durable_agents"), name)

    assert inspect.getdoc(exported)
    assert exported.__module__ == "durable_agents"
    assert exported.__name__ == name
