"""What the tests of `durable-agents run` share: a made agent, its inputs, the command."""

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from durable_agents.cli import main

__all__ = ["AGENT", "Job"]

AGENT = """
import msgspec
from durable_agents import Agent, InputEvent, durable


class Order(msgspec.Struct):
    product: str
    amount: int


agent = Agent("shop", input=Order)
factory = lambda: agent
number = 7


class Shop(Agent):
    def __init__(self):
        super().__init__("shop", input=Order)
        self.add_action("sell", InputEvent, sell)


def broken():
    raise OSError("no network")


@durable(on_interrupt="ask")
async def charge(amount):
    return amount * 2


async def price(amount):
    if amount < 0:
        raise ValueError(f"{amount} is owed to us")
    return amount * 2


@agent.action(InputEvent)
async def sell(event, ctx):
    paid = await ctx.durable(price, event.input.amount)
    memory = ctx.short_term_memory
    memory["sum"] = memory.get("sum", 0) + paid
    ctx.output({"product": event.input.product, "sum": memory["sum"]})
"""


class Job:
    """A folder with an agent and inputs, and the command over them, in this process.

    Args:
        folder: Where everything is.
        capsys: Captures what the command writes.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], module: str) -> None:
        self.module = folder / f"{module}.py"
        self.module.write_text(AGENT)
        self.input = folder / "orders.jsonl"
        self.store = folder / "shop.db"
        self.output = folder / "sold.jsonl"
        self.written = ""
        self.told = ""
        self._capsys = capsys

    def give(self, *lines: str | dict[str, Any] | bytes) -> None:
        """Write the input file."""
        texts = [
            line
            if isinstance(line, bytes)
            else (line if isinstance(line, str) else json.dumps(line)).encode()
            for line in lines
        ]
        self.input.write_bytes(b"".join(text + b"\n" for text in texts))

    def add_to_module(self, code: str) -> None:
        """Give the agent's module another ending."""
        self.module.write_text(f"{self.module.read_text()}\n\n{dedent(code)}")

    def run(self, *options: str, agent: str | None = None) -> int:
        """The command with its usual options and some more."""
        return self.command(
            "run",
            f"{self.module}:agent" if agent is None else agent,
            f"--input={self.input}",
            "--key=product",
            f"--store={self.store}",
            f"--output={self.output}",
            "--quiet",
            *options,
        )

    def report(self, *options: str, agent: str | None = None) -> tuple[int, dict[str, Any]]:
        """Exit code and report of the command."""
        code = self.run("--json", *options, agent=agent)
        found: dict[str, Any] = json.loads(self.written)
        return code, found

    def command(self, *arguments: str) -> int:
        """Any command; `written` and `told` hold what it says."""
        code = main(list(arguments))
        self.written, self.told = self._capsys.readouterr()
        return code

    def outputs(self) -> list[dict[str, Any]]:
        """Lines of the output file."""
        return [json.loads(line) for line in self.output.read_text().splitlines()]
