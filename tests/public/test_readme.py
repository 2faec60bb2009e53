"""The README's commands are what continuous integration runs, and can be copied as they are."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def readme_commands() -> list[str]:
    """What stands in the README's shell blocks."""
    return re.findall(
        r"^```sh\n(.*?)\n```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )


def test_the_readme_has_two_commands_of_one_line_each() -> None:
    """One for the main job, one for the tests; one line can be copied without a mistake."""
    assert [1, 1] == [len(command.splitlines()) for command in readme_commands()]


def test_continuous_integration_runs_the_second_command_word_for_word() -> None:
    """What a reader is told to run is what decides whether a change lands."""
    _, second = readme_commands()

    assert second == (ROOT / ".ci" / "run").read_text().splitlines()[-1]


def test_each_command_makes_its_own_environment() -> None:
    """Debian's Python refuses to install outside one."""
    made = [
        re.match(r"python3 -m venv (\S+) && \1/bin/pip ", line) for line in readme_commands()
    ]

    assert None not in made
    assert len({match[1] for match in made if match}) == 2
