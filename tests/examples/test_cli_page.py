"""The page about the command line: its commands run, and it knows every option."""

import argparse
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_agents.cli import main
from durable_agents.cli._exit import ExitCode
from durable_agents.cli._main import parser

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
BLOCKS = re.compile(r"^```sh\n(.*?)\n```\n\n```text\n(.*?\n)```$", re.MULTILINE | re.DOTALL)


def commands() -> dict[str, argparse.ArgumentParser]:
    """The commands that the page is about, each with its parser."""
    (subparsers,) = [
        action
        for action in parser()._actions  # noqa: SLF001 -- argparse has no other way
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    ]
    return {name: made for name, made in subparsers.choices.items() if name != "demo"}


def options(made: argparse.ArgumentParser) -> Iterator[str]:
    for action in made._actions:  # noqa: SLF001
        yield from (option for option in action.option_strings if option.startswith("--"))


@pytest.fixture
def fresh_modules() -> Iterator[None]:
    """Modules that a command imports are forgotten."""
    before, path = set(sys.modules), [*sys.path]
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name == "review_stream":
            del sys.modules[name]


@pytest.mark.usefixtures("fresh_modules")
def test_the_commands_of_the_page_print_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other, over the sample that ships with the examples."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = BLOCKS.findall(PAGE)

    assert 3 == len(blocks)
    for command, expected in blocks:
        program, *arguments = shlex.split(command)
        assert ("durable-agents", 0) == (program, main(arguments))
        assert expected == capsys.readouterr().out


def test_the_page_names_every_command_and_every_option() -> None:
    """What `--help` tells is on the page, too."""
    wanted = {option for made in commands().values() for option in options(made)}

    assert [] == [name for name in commands() if f"`{name}" not in PAGE and name != "run"]
    assert [] == sorted(o for o in wanted if not re.search(rf"`[^`]*{o}\b", PAGE))


def test_the_page_names_no_option_that_is_not_there() -> None:
    """A leftover would be tried by somebody."""
    known = {option for made in commands().values() for option in options(made)}

    assert set() == set(re.findall(r"--[a-z][a-z-]+", PAGE)) - known


@pytest.mark.parametrize("page", ["cli.md", "operations.md"])
def test_the_exit_codes_are_those_of_the_program(page: str) -> None:
    """In every place where they stand."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    _, _, table = text.partition("## Exit codes")

    assert [str(int(code)) for code in ExitCode] == re.findall(
        r"^\| (\d+) \|", table, re.MULTILINE
    )
