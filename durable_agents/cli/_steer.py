"""What the commands that change something share: whoever owns the store does it."""

import asyncio
from pathlib import Path

from durable_agents.cli._show import say
from durable_agents.store import SqliteStore
from durable_agents.worker import Command, Executed, carry_out

__all__ = ["STEERING", "steer"]

STEERING = """\
A worker that owns the store is asked to do it, through the control socket beside the store;
where nobody owns it, it is done here, and the next worker goes on from there.
"""


def steer(path: Path, command: Command, told: str) -> Executed:
    """Carry a command out, and say so.

    Args:
        path: The store.
        command: What to do.
        told: What is said when it is done, about the run.

    Raises:
        DurableAgentsError: It cannot be done, or not in this state of the run.
    """
    store = SqliteStore(path, is_visit=True)
    done = asyncio.run(carry_out(command, store, "a command of durable-agents"))
    who = "its worker has it" if done.by_owner else "the next worker takes it up"
    if told:
        say(f"{told}: {who}")
    return done
