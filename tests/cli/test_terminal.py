"""What a person at a terminal sees, with rich and without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli._kit import ENVIRONMENT

WITHOUT_RICH = (
    "import sys; sys.modules['rich'] = None\n"
    "from durable_agents.cli import main; sys.exit(main(sys.argv[1:]))"
)


def seen_on_a_terminal(command: list[str], site: Path, store: Path) -> str:
    """All that the command writes to a terminal of 120 columns."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(  # noqa: S603 -- our own command
        [sys.executable, *command, "demo", f"--environment={site}", f"--store={store}"],
        stdout=theirs,
        stderr=theirs,
        env={**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    with process:
        written = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)

    assert 0 == process.returncode
    return written.decode()


def read(terminal: int) -> bytes:
    """What comes next; nothing once the other side is closed."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_with_rich_there_is_a_bar_and_a_drawn_table(site: Path, store: Path) -> None:
    """The extra `cli` is what makes it nice."""
    seen = seen_on_a_terminal(["-m", "durable_agents"], site, store)

    assert "auditing packages" in seen
    assert "2/2" in seen
    assert "│ alpha" in seen


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_without_rich_there_are_plain_lines(site: Path, store: Path) -> None:
    """The core dependencies alone must do."""
    seen = seen_on_a_terminal(["-c", WITHOUT_RICH], site, store)

    assert "auditing packages: 2 of 2" in seen
    assert "alpha       1.0" in seen
    assert "│" not in seen
