"""Kill `durable-agents run` at random moments, and compare its output with an undisturbed one.

    python -m tests.crash.stream_kills reviews.jsonl --kills 10

The exit status is 0 if the output file has the same lines as that of a run without a crash,
and if no call that had settled before a kill began again. Fields are those of
`examples/review_stream.py`: `id`, `review`, `ts`.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from durable_agents.cli._agents import load_agent
from tests.crash.evidence import read, repeated
from tests.crash.witness import FILE, LATENCY, LIFE, sightings

__all__ = ["StreamReport", "kill_the_stream"]

ROOT = Path(__file__).parent.parent.parent
AGENT = f"{ROOT / 'tests' / 'crash' / 'witnessed_reviews.py'}:agent"
_POLL_SECONDS = 0.0005
_LONGEST_PAUSE = 0.005


@dataclass(slots=True)
class StreamReport:
    """What was done, and what came of it."""

    lines: int = 0
    """Lines of the output."""
    kills: int = 0
    """Processes that were killed before they had ended."""
    begun: int = 0
    """Calls that began, over all lives."""
    settled: int = 0
    """Calls that have an outcome at the end."""
    breaches: list[str] = field(default_factory=list)


def kill_the_stream(
    source: Path, folder: Path, *, kills: int, latency: float = 0.002, seed: int = 0
) -> StreamReport:
    """Run over a file twice: without a crash, and with some.

    Args:
        source: The inputs.
        folder: An empty folder.
        kills: How many processes are killed.
        latency: Seconds that a durable call takes.
        seed: Of the moments.
    """
    load_agent(
        f"{ROOT / 'examples' / 'review_stream.py'}:agent"
    )  # what its outputs are made of
    undisturbed, disturbed = _Site(folder / "calm", latency), _Site(folder / "storm", latency)
    report = StreamReport()
    undisturbed.live(source, report, ends=None)
    expected = sorted(undisturbed.output.read_bytes().splitlines(keepends=True))
    total = len(sightings(undisturbed.witness)) // 2
    chance = random.Random(seed)  # noqa: S311 - not a secret
    for left in range(kills, 0, -1):
        rest = total - sum(s.phase == "end" for s in sightings(disturbed.witness))
        ends = chance.randrange(1 + max(0, rest) // left)
        disturbed.live(source, report, ends=ends, pause=chance.uniform(0, _LONGEST_PAUSE))
    disturbed.live(source, report, ends=None)
    found = sorted(disturbed.output.read_bytes().splitlines(keepends=True))
    if found != expected:
        odd = set(found) ^ set(expected)
        report.breaches.append(f"{len(found)} lines, expected {len(expected)}; {odd}")
    report.lines = len(found)
    report.begun = sum(s.phase == "begin" for s in sightings(disturbed.witness))
    report.settled = len(read(disturbed.store).settled)
    return report


class _Site:
    """A store, an output file and a witness, and the processes that come and go."""

    def __init__(self, folder: Path, latency: float) -> None:
        folder.mkdir()
        self.store = folder / "reviews.db"
        self.output = folder / "summaries.jsonl"
        self.witness = folder / "witness"
        self._latency = latency
        self._lives = 0

    def live(
        self, source: Path, report: StreamReport, *, ends: int | None, pause: float = 0.0
    ) -> None:
        """One process.

        Args:
            source: The inputs.
            report: What is filled in.
            ends: Calls that end before the process is killed; None: it lives.
            pause: Seconds between the last of them and the kill.
        """
        seen_before = len(sightings(self.witness))
        settled = set(read(self.store).settled) if self.store.exists() else set()
        with subprocess.Popen(  # noqa: S603 -- our own command
            self._command(source),
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            if ends is not None:
                report.kills += self._kill(process, ends, pause)
            _, told = process.communicate()
        if process.returncode != 0 and ends is None:
            report.breaches.append(f"ended with {process.returncode}: {told.decode()}")
        report.breaches += repeated(settled, sightings(self.witness)[seen_before:])
        self._lives += 1

    def _command(self, source: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "durable_agents", "run", AGENT, "--quiet", "--json"),
            *("--input", str(source), "--key", "id", "--store", str(self.store)),
            *("--output", str(self.output), "--concurrency", "16"),
        ]

    def _environment(self) -> dict[str, str]:
        # The checkout comes last: where the package is installed, that one is tested.
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(ROOT)]),
            "PYTHONSAFEPATH": "1",
            "PYTHONHASHSEED": str(self._lives),
            FILE: str(self.witness),
            LIFE: str(self._lives),
            LATENCY: str(self._latency),
        }

    def _kill(self, process: "subprocess.Popen[bytes]", ends: int, pause: float) -> bool:
        """Kill the process at a chosen moment; False if it ended first."""
        offset = self.witness.stat().st_size if self.witness.exists() else 0
        while process.poll() is None:
            new = self.witness.read_bytes()[offset:] if self.witness.exists() else b""
            if new and new.count(b'"end"') >= ends:
                time.sleep(pause)
                process.kill()
                return process.wait() < 0
            time.sleep(_POLL_SECONDS)
        return False


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path, metavar="FILE")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--latency", type=float, default=0.002)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        report = kill_the_stream(
            arguments.source,
            Path(folder),
            kills=arguments.kills,
            latency=arguments.latency,
            seed=arguments.seed,
        )
    sys.stdout.write(f"{report}\n")
    return 1 if report.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
