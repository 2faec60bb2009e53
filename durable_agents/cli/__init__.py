"""The command line: `durable-agents`, one file per command."""

from durable_agents.cli._main import main

__all__ = ["main"]
