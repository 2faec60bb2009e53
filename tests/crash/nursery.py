"""Where the lives of `child` are started from."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

import msgspec

from tests.crash.child import Life

__all__ = ["Nursery", "python"]

ROOT = Path(__file__).parent.parent.parent


def python(module: str, *arguments: str) -> list[str]:
    """The command that calls `main` of a module of the tests.

    The checkout comes last on its path: where the package is installed, that one is tested.
    """
    start = (
        f"import importlib, sys; sys.path.append({str(ROOT)!r}); "
        f"importlib.import_module({module!r}).main(*sys.argv[1:])"
    )
    return [sys.executable, "-c", start, *arguments]


def _unmeasured(environment: Mapping[str, str]) -> dict[str, str]:
    """Without coverage: it is slow, and lives end before they could write its figures."""
    return {name: value for name, value in environment.items() if "COVERAGE_" not in name}


class Nursery:
    """An interpreter that forks for each life, one after the other.

    Args:
        hash_seed: Seed of its hashes: lives of one store come from nurseries that differ in it,
            as any two processes do.
    """

    def __init__(self, hash_seed: int) -> None:
        self._turn = Lock()
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            python("tests.crash.child"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_unmeasured(os.environ) | {"PYTHONHASHSEED": str(hash_seed)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def live(self, life: Life) -> int:
        """Start a process and wait for its end.

        Returns:
            Its exit status: -9 if it was killed.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None, "it was asked for"
        assert stdout is not None, "it was asked for"
        with self._turn:
            stdin.write(msgspec.json.encode(life) + b"\n")
            stdin.flush()
            return int(stdout.readline())
