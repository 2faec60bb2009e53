"""Every Python block of the README and of the docs runs as a reader would run it."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from sybil import Document
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def python_blocks() -> Iterator[object]:
    """Each block, named by page and line, with the text block right behind it."""
    for page in PAGES:
        blocks = fenced_blocks(page)
        for (line, language, source), (_, next_language, text) in pairwise([
            *blocks,
            (0, "", ""),
        ]):
            if language == "python":
                expected = text if next_language == "text" else None
                yield pytest.param(source, expected, id=f"{page.name}:{line}")


def fenced_blocks(page: Path) -> list[tuple[int, str, str]]:
    """Line, language and content of the blocks that are code or output, in order."""
    languages = ("python", "text")
    parsers = [CodeBlockParser(language, lambda _: None) for language in languages]
    document = Document.parse(str(page), *parsers)
    return [
        (document.text.count("\n", 0, r.start) + 1, r.lexemes["arguments"], str(r.parsed))
        for _, r in document.regions
    ]


@pytest.mark.parametrize(("source", "expected"), list(python_blocks()))
def test_a_block_runs_and_prints_what_the_page_says(
    source: str, expected: str | None, tmp_path: Path
) -> None:
    """A page that shows code which does not run is worse than no page."""
    script = tmp_path / "block.py"
    script.write_text(source)

    done = subprocess.run(  # noqa: S603 -- our own page
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert expected is None or expected == done.stdout


def test_the_block_of_the_readme_is_short() -> None:
    """More than 25 lines are not read."""
    (block,) = [
        source for _, language, source in fenced_blocks(PAGES[0]) if language == "python"
    ]

    assert len([line for line in block.splitlines() if line.strip()]) <= 25
