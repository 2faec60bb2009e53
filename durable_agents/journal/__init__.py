"""What a run has done, and what that means for what it does next. No I/O, no clock, no loop."""

from durable_agents.journal._entries import MemoryUpdate

__all__ = ["MemoryUpdate"]
