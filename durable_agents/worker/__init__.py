"""The worker: the only room that both asks the rules and moves the world."""

from durable_agents.worker._call import current_call
from durable_agents.worker._commands import (
    CancelRun,
    Command,
    CompletePromise,
    ForkRun,
    PauseAgent,
    PruneRuns,
    ResolveCall,
    ResumeAgent,
    RetryRun,
    RetryRuns,
    SignalRun,
)
from durable_agents.worker._current import CallInfo
from durable_agents.worker._decisions import (
    UNSET,
    cancel,
    fork_id,
    prune,
    put_back,
    resolution,
    retention,
    retry,
)
from durable_agents.worker._handle import Run
from durable_agents.worker._outputs import Output
from durable_agents.worker._replay import (
    RecordReader,
    ReplayedAction,
    ReplayedRun,
    Safety,
    replay,
    replay_runs,
)
from durable_agents.worker._run_agent import arun_agent, run_agent
from durable_agents.worker._settings import WorkerSettings
from durable_agents.worker._visit import Executed, carry_out
from durable_agents.worker._worker import Worker, WorkerStatistics

__all__ = [
    "UNSET",
    "CallInfo",
    "CancelRun",
    "Command",
    "CompletePromise",
    "Executed",
    "ForkRun",
    "Output",
    "PauseAgent",
    "PruneRuns",
    "RecordReader",
    "ReplayedAction",
    "ReplayedRun",
    "ResolveCall",
    "ResumeAgent",
    "RetryRun",
    "RetryRuns",
    "Run",
    "Safety",
    "SignalRun",
    "Worker",
    "WorkerSettings",
    "WorkerStatistics",
    "arun_agent",
    "cancel",
    "carry_out",
    "current_call",
    "fork_id",
    "prune",
    "put_back",
    "replay",
    "replay_runs",
    "resolution",
    "retention",
    "retry",
    "run_agent",
]
