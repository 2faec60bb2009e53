"""What waits are called in a journal: they take places among the durable calls of a branch."""

__all__ = ["PROMISE", "SIGNAL", "SLEEP", "TIMEOUT"]

SLEEP = "durable_agents:sleep"
TIMEOUT = "durable_agents:timeout"
SIGNAL = "durable_agents:signal"
"""Told apart further by the name of the signal, which stands for the arguments' digest."""
PROMISE = "durable_agents:promise"
"""Begins the names of the signals that complete promises, too; the id of the call follows."""
