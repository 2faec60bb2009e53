"""Which of the supported Pythons are installed on this machine, and where.

A `python3.12` on PATH proves nothing: the shim of a version manager has that name and refuses
to run while no version is chosen for it. So each candidate is asked who it is, and behind PATH
the version manager's own folder and uv are asked too. `noxfile.py` runs the tests on all that
answer: one that is installed and was skipped is a failure.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["Interpreter", "installed"]

_WHO_ARE_YOU = (
    "import platform, sys; print(sys.executable, platform.python_version(), sep='\\n')"
)


class Interpreter(NamedTuple):
    """A Python that runs."""

    path: str
    """Where it lies, behind any shim."""
    version: str
    """All of its version: `"3.12.1"`."""


def installed(minors: Iterable[str], environ: Mapping[str, str]) -> dict[str, Interpreter]:
    """The first interpreter that runs for each minor version; one without is left out.

    Args:
        minors: Minor versions: `"3.12"`.
        environ: Where PATH, PYENV_ROOT and HOME are read.
    """
    found: dict[str, Interpreter] = {}
    for minor in minors:
        answers = (_ask(path, minor) for path in _candidates(minor, environ))
        if interpreter := next(filter(None, answers), None):
            found[minor] = interpreter
    return found


def _candidates(minor: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Places that may hold the minor version; the later ones are looked up only when needed."""
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        yield Path(folder or ".", f"python{minor}")
    pyenv = Path(environ.get("PYENV_ROOT") or Path(environ.get("HOME", "/"), ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/*/bin/python{minor}"))
    find = [sys.executable, "-m", "uv", "python", "find", "--no-python-downloads", minor]
    if path := _output(find):
        yield Path(path)


def _ask(path: Path, minor: str) -> Interpreter | None:
    """Who answers at a place, or None where nobody of that minor version does."""
    if not os.access(path, os.X_OK):
        return None
    executable, _, version = _output([str(path), "-c", _WHO_ARE_YOU]).partition("\n")
    return Interpreter(executable, version) if version.startswith(f"{minor}.") else None


def _output(command: list[str]) -> str:
    """What a command printed; nothing where it fails."""
    try:
        done = subprocess.run(  # noqa: S603 -- found on the developer's own PATH
            command, capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
