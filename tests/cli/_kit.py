"""What the tests of the command line share: made environments, and the command in a process."""

import hashlib
import json
import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from durable_agents.cli import main

__all__ = ["install", "lines", "report", "start", "wait_for"]

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}


def install(  # noqa: PLR0913 -- a distribution is made of these
    site: Path,
    name: str,
    files: Mapping[str, bytes] | None = None,
    *,
    version: str = "1.0",
    metadata: str = "",
    licences: Mapping[str, str] | None = None,
) -> Path:
    """Put a distribution into a site-packages folder as an installer would.

    Args:
        site: The folder; made if it is missing.
        name: Name of the distribution.
        files: What it consists of, by path.
        version: Its version.
        metadata: Further lines of METADATA.
        licences: Texts beside METADATA, by name.

    Returns:
        Its metadata folder.
    """
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    head = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
    (folder / "METADATA").write_text(f"{head}{metadata}\n")
    for licence, text in (licences or {}).items():
        (folder / licence).write_text(text)
    record = [f"{folder.name}/RECORD,,", f"{name}/__pycache__/x.pyc,,"]
    for path, content in (files or {}).items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
        record.append(record_line(path, hashlib.sha256(content).digest(), len(content)))
    (folder / "RECORD").write_text("\n".join(record))
    return folder


def install_slow(site: Path) -> None:
    """Put a distribution there that takes a while to hash: files of nothing but a size."""
    size = 2**26
    digest = hashlib.sha256(bytes(size)).digest()
    paths = [f"slow/{number}.bin" for number in range(8)]
    folder = install(site, "slow", metadata="License-Expression: MIT")
    (site / "slow").mkdir()
    for path in paths:
        with (site / path).open("wb") as file:
            file.truncate(size)
    record = [record_line(path, digest, size) for path in paths]
    (folder / "RECORD").write_text("\n".join(record))


def record_line(path: str, digest: bytes, size: int) -> str:
    """A line of RECORD."""
    text = urlsafe_b64encode(digest).rstrip(b"=").decode()
    return f"{path},sha256={text},{size}"


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What `demo --json` writes where all goes well; it runs in this process."""
    code = main(["demo", "--json", "--quiet", *arguments])
    written, complaints = capsys.readouterr()

    assert (0, "") == (code, complaints)
    found: dict[str, Any] = json.loads(written)
    return found


def start(*arguments: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(  # noqa: S603 -- our own command
        [sys.executable, "-m", "durable_agents", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def lines(witness: Path) -> list[dict[str, Any]]:
    """What the durable functions wrote down, in order."""
    return [json.loads(line) for line in witness.read_text().splitlines()]


def wait_for(process: subprocess.Popen[str], witness: Path, function: str) -> None:
    """Wait until a durable function has begun in the process."""
    while not any(line["function"] == function for line in _whole_lines(witness)):
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.005)
        assert process.poll() is None, "it ended before the function began"


def _whole_lines(witness: Path) -> list[dict[str, Any]]:
    if not witness.exists():
        return []
    whole, _, _ = witness.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]
