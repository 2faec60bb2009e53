"""Wrong code: both checkers must refuse every line that carries an `ignore`.

mypy and basedpyright report an `ignore` that ignores nothing, so a line that they came to accept
fails `nox -s types`. Nothing here runs.
"""

from durable_agents import Agent, InputEvent, RetryPolicy, RunnerContext, SqliteStore, durable


@durable(name="charge-card")
async def charge(order: int, *, currency: str = "EUR") -> str:
    """A declared function keeps its signature."""
    return f"{order} {currency}"


def weigh(order: int) -> int:
    """An undeclared function, too."""
    return order


agent = Agent("shop", input=int)


@agent.action(InputEvent)
async def pay(event: InputEvent[int], ctx: RunnerContext) -> None:
    """Arguments of durable calls are checked as if the function was called."""
    await ctx.durable(charge, "seven")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await ctx.durable(charge)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await ctx.durable(charge, event.input, price=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    text: str = await ctx.durable(weigh, event.input)  # type: ignore[call-overload]  # pyright: ignore[reportAssignmentType]
    ctx.output(text)
    ctx.send("an event")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ctx.promise("Receipt")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    ctx.options(on_interrupt="perhaps")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


RetryPolicy(attempts=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
SqliteStore()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
agent.schedule("0 9 * * *", 1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
agent.schedule("0 9 * * *", 1, name="daily", missed="some")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
