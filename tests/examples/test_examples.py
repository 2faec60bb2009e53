"""Every example runs as its reader would run it, and prints what its heading says."""

import ast
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent.parent / "examples").glob("*.py"))

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)


@every_example
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_example_prints_what_its_heading_says(example: Path, tmp_path: Path) -> None:
    """The heading is what a reader compares their own screen with."""
    done = subprocess.run(  # noqa: S603 -- our own example
        [sys.executable, example], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert expected_output(example) == done.stdout


@every_example
def test_an_example_leaves_nothing_behind_but_its_output(example: Path) -> None:
    """A reader may run it anywhere: what it stores goes into a folder that is thrown away."""
    assert "TemporaryDirectory()" in example.read_text()


@every_example
def test_the_heading_of_an_example_says_how_to_run_it(example: Path) -> None:
    """A command to copy, not a description of one."""
    assert f"Run it:\n\n    python examples/{example.name}\n" in heading(example)


@every_example
def test_an_example_is_short_enough_to_be_read(example: Path) -> None:
    """Beyond 120 lines it shows more than one thing."""
    assert len(example.read_text().splitlines()) <= 120


def heading(example: Path) -> str:
    """The docstring of the file."""
    return ast.get_docstring(ast.parse(example.read_text())) or ""


def expected_output(example: Path) -> str:
    """The indented block at the end of the heading."""
    _, _, seen = heading(example).partition("What you will see:\n\n")
    return dedent(seen) + "\n"
