"""The agent whose runs the stores hold."""

from durable_agents import Agent, InputEvent, RunnerContext

__all__ = ["agent"]

agent = Agent("history", input=int)


async def increase(value: int) -> int:
    """A durable function that costs nothing."""
    return value + 1


@agent.action(InputEvent)
async def call_once(event: InputEvent[int], ctx: RunnerContext) -> None:
    """One call, so that a run is an acceptance, a call and an end."""
    await ctx.durable(increase, event.input)
