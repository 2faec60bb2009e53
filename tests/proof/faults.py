"""What the shim is told: which calls of a process fail, kill it, or are recorded.

The shim, `shim/faults.c`, is preloaded into a process. It is built with the system's compiler
for each round of proofs; where there is none, and on systems other than Linux, the layers that
need it are skipped.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["FAILURES", "Deed", "Faults", "build", "compiler"]

Deed: TypeAlias = Literal["kill-before", "kill-after", "eio", "enospc", "short"]
FAILURES: tuple[Deed, ...] = ("eio", "enospc", "short")
"""Those of a disk."""

_SOURCE = Path(__file__).parent / "shim" / "faults.c"
_FLAGS = ("-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror")


def compiler() -> str | None:
    """Path of the system's C compiler; None where there is none, and on other than Linux."""
    if sys.platform != "linux":
        return None
    return shutil.which("cc") or shutil.which("gcc")


def build(folder: Path) -> Path:
    """Compile the shim into a folder, and return the library.

    Raises:
        FileNotFoundError: There is no C compiler, or this is not Linux.
    """
    found = compiler()
    if found is None:
        problem = "no C compiler (cc, gcc) on Linux: install one, or leave this layer out"
        raise FileNotFoundError(problem)
    library = folder / "faults.so"
    command = [found, *_FLAGS, "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)  # noqa: S603 - our own source
    return library


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What is to happen to the files of a folder."""

    folder: Path
    """Files elsewhere are left alone."""
    file: str = "store.db"
    """Faults hit files whose names begin so."""
    call: Literal["write", "sync", "any"] = "any"
    at: int = 0
    """The call that is hit, counted from 1; 0: none."""
    count: int = 1
    """How many calls are hit, beginning with that one."""
    do: Deed = "eio"
    said: Path | None = None
    """File that gets a line for each call that was hit: number, call, file."""
    trace: Path | None = None
    """File that gets a record of every change; see `trace`."""

    def environment(self, shim: Path) -> dict[str, str]:
        """Variables of the process to which it is to happen."""
        variables = {
            "LD_PRELOAD": str(shim),
            "FAULTS_FOLDER": str(self.folder.resolve()),
            "FAULTS_FILE": self.file,
            "FAULTS_CALL": self.call,
            "FAULTS_AT": str(self.at),
            "FAULTS_COUNT": str(self.count),
            "FAULTS_DO": self.do,
        }
        if self.said is not None:
            variables["FAULTS_SAID"] = str(self.said)
        if self.trace is not None:
            variables["FAULTS_TRACE"] = str(self.trace)
        return variables
