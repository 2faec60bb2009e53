"""An environment with something to find in it, and a place for stores."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli._job import Job
from tests.cli._kit import install


@pytest.fixture
def little_to_look_through(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands that look for garbage first would search what all the tests have imported."""
    unfreeze = gc.unfreeze
    gc.freeze()
    monkeypatch.setattr(gc, "unfreeze", lambda: None)
    yield
    unfreeze()


@pytest.fixture
def site(tmp_path: Path, little_to_look_through: None) -> Path:  # noqa: ARG001 -- works by being there
    """A site-packages folder: one file was changed, another one is gone."""
    folder = tmp_path / "site-packages"
    files = {
        "alpha/__init__.py": b"one = 1\n",
        "alpha/data.txt": b"data",
        "alpha/more.txt": b"m",
    }
    install(folder, "alpha", files, metadata="License-Expression: MIT")
    install(folder, "Beta.Tools", {"beta.py": b"b = 2\n"}, metadata="License: GPL-3.0-or-later")
    (folder / "alpha" / "data.txt").write_bytes(b"other")
    (folder / "alpha" / "more.txt").unlink()
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where a store may be made."""
    return tmp_path / "audit.db"


@pytest.fixture
def job(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    little_to_look_through: None,  # noqa: ARG001 -- works by being there
) -> Iterator[Job]:
    """An agent and its inputs; its module is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield Job(tmp_path, capsys, "shop_agent")
    for name in set(sys.modules) - before:
        if name.startswith("shop_agent"):
            del sys.modules[name]
