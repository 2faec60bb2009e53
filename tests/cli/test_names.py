"""Ids, keys and names of any text work everywhere, or are refused by name."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from durable_agents import Agent, InputEvent, RunnerContext, SqliteStore, Worker, durable
from durable_agents.cli import main

NAMES = {
    "quotes": "a'b\"c`d;--",
    "slashes": "../a/b\\c",
    "NUL": "a\x00b",
    "newlines": "a\nb\r\nc\t",
    "right to left": "\u202eabc\u202c \u05d0",
    "terminal": "\x1b[31mred\x1b[0m",
    "wild cards": "%_*?[a]",
    "emoji": "👩‍👩‍👧 e\u0301",
    "empty": "",
    "megabyte": "x" * 2**20,
}
EACH = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


@durable(name="échö \u202e'\"\n")
async def echo(text: str) -> str:
    """Its name is odd, too."""
    return text


def agent_named(name: str) -> Agent:
    """An agent, and an action, of that name."""
    agent = Agent(name)

    async def act(event: Any, ctx: RunnerContext) -> None:  # noqa: ANN401 - an input
        ctx.short_term_memory.set("seen", event.input)
        ctx.output(await ctx.durable(echo, event.input))

    agent.add_action("act", InputEvent, act)
    return agent


async def lived(path: Path, agent: Agent, **names: str) -> list[Any]:
    """What a run puts out, asked for in two lives."""
    outputs: list[Any] = []
    for _ in range(2):
        async with Worker(agent, store=SqliteStore(path)) as worker:
            outputs.append(await (await worker.submit("value", **names)).result())
    return outputs


@EACH
def test_a_run_of_any_id_and_key_is_run_once_and_shown(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By each command that looks for it."""
    path = tmp_path / "agents.db"

    outputs = asyncio.run(lived(path, agent_named("odd"), id=name, key=name))

    assert [["value"], ["value"]] == outputs
    for command in (["show", name], ["runs", "--key", name]):
        assert 0 == main([*command, "--json", "--store", str(path)])
        shown = json.loads(capsys.readouterr().out)
        run = shown["runs"][0] if command[0] == "runs" else shown
        assert (name, name) == (run["run"], run["key"])
    assert 0 == main(["doctor", "--store", str(path)])


@EACH
def test_what_is_shown_to_people_is_nothing_that_a_terminal_obeys(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither colours nor a changed direction, nor a line that looks like another one."""
    path = tmp_path / "agents.db"
    asyncio.run(lived(path, agent_named("odd"), id=name, key=name))

    codes = [main([*words, "--store", str(path)]) for words in (["runs"], ["show", name])]
    shown = capsys.readouterr().out

    assert [0, 0] == codes
    assert not {"\x1b", "\x00", "\u202e", "\r"} & set(shown)


@pytest.mark.parametrize(
    "name", [n for n in NAMES.values() if n], ids=[n for n in NAMES if n != "empty"]
)
def test_an_agent_of_any_name_goes_on_after_a_restart(name: str, tmp_path: Path) -> None:
    """Its runs are its own."""
    outputs = asyncio.run(lived(tmp_path / "agents.db", agent_named(name), id="run", key="key"))

    assert [["value"], ["value"]] == outputs


@pytest.mark.parametrize("what", ["id", "key"])
def test_text_that_cannot_be_written_is_refused_by_name(what: str, tmp_path: Path) -> None:
    """A lone surrogate is no UTF-8."""
    with pytest.raises(ValueError, match=f"{what} .* cannot be written as UTF-8"):
        asyncio.run(lived(tmp_path / "agents.db", agent_named("odd"), **{what: "a\ud800"}))
