"""The worker: the only room that both asks the rules and moves the world."""

from durable_agents.worker._call import current_call
from durable_agents.worker._current import CallInfo
from durable_agents.worker._handle import Run
from durable_agents.worker._settings import WorkerSettings
from durable_agents.worker._worker import Worker, WorkerStatistics

__all__ = ["CallInfo", "Run", "Worker", "WorkerSettings", "WorkerStatistics", "current_call"]
