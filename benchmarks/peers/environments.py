"""An environment for each peer, made on first use and kept as long as its pins stay the same.

Python packages come from `requirements/NAME.txt`, a server from npm by `NPM`. Environments lie
in `.environments/` beside this file; remove the folder to make them anew.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["PEERS", "interpreter"]

HERE = Path(__file__).parent
ENVIRONMENTS = HERE / ".environments"
PEERS = ("dbos", "langgraph", "restate", "temporal")
NPM = {"restate": "@restatedev/restate-server@1.7.12"}


def interpreter(peer: str) -> Path:
    """The Python of a peer's environment, which is made if need be.

    Raises:
        subprocess.CalledProcessError: A package could not be installed; the installer has
            printed why.
    """
    requirements = HERE / "requirements" / f"{peer}.txt"
    folder = ENVIRONMENTS / peer
    python = folder / "bin" / "python"
    pins = requirements.read_bytes() + NPM.get(peer, "").encode() + sys.version.encode()
    digest, mark = hashlib.sha256(pins).hexdigest(), folder / "made-from"
    if not mark.exists() or mark.read_text() != digest:
        make(folder, requirements, NPM.get(peer))
        mark.write_text(digest)
    return python


def make(folder: Path, requirements: Path, server: str | None) -> None:
    """Install from scratch."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (ENVIRONMENTS / ".gitignore").write_text("*\n")
    install(folder, requirements)
    if server:
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
        run(*command, "--prefix", str(folder), server)


def install(folder: Path, requirements: Path) -> None:
    """Python packages, by uv where there is one: it takes seconds where pip takes a minute."""
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv:
        run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        where = {"VIRTUAL_ENV": str(folder)}
        run(uv, "pip", "install", "--quiet", "-r", str(requirements), environment=where)
    else:
        venv.create(folder, with_pip=True)
        python = str(folder / "bin" / "python")
        run(python, "-m", "pip", "install", "--quiet", "-r", str(requirements))


def run(*command: str, environment: dict[str, str] | None = None) -> None:
    """Run an installer; what it prints goes to the standard error, apart from figures."""
    environment = {**os.environ, **(environment or {})}
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)  # noqa: S603
