"""Try every layer of the proof, and print which claims each one tried and what it found.

    python -m tests.proof           the quick form, less than ten minutes
    python -m tests.proof --full    as much as docs/proof.md promises, some two hours
    python -m tests.proof --only "power cuts" schedules

The exit status is 0 if no layer found a violation, and those found one that must.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

import msgspec

from tests.crash.verdict import VERDICTS, Verdict
from tests.proof.faults import compiler

__all__ = ["CLAIMS", "LAYERS", "TESTS", "Layer", "TestedLayer", "main", "table"]

CLAIMS = ("C1", "C2", "C3", "C4", "C5")
Need: TypeAlias = Literal["nothing", "linux", "compiler"]

TESTS = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A program that tries claims and leaves verdicts."""

    name: str
    module: str
    quick: str
    """Arguments of the quick form."""
    full: str
    needs: Need = "nothing"

    def run(self, folder: Path, *, full: bool) -> list[Verdict]:
        """Run it; what it found, or that it broke off.

        Args:
            folder: An empty folder.
            full: Whether to try as much as is promised.
        """
        said = folder / "verdicts"
        arguments = shlex.split(self.full if full else self.quick)
        _run([self.module, *arguments], {VERDICTS: str(said)})
        lines = said.read_bytes().splitlines() if said.exists() else []
        return [msgspec.json.decode(line, type=Verdict) for line in lines]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedLayer:
    """Tests that try claims."""

    name: str
    claims: tuple[str, ...]
    files: tuple[str, ...]
    """Below the folder of the tests; the glob of one each."""
    quick: Mapping[str, str] = field(default_factory=dict[str, str])
    """Environment variables of the quick form."""
    full: Mapping[str, str] = field(default_factory=dict[str, str])
    tried: str = "{} tests"
    needs: Need = "nothing"

    def run(self, folder: Path, *, full: bool) -> list[Verdict]:
        """Run the tests; see `Layer.run`."""
        report = folder / "junit.xml"
        files = sorted(str(path) for glob in self.files for path in TESTS.glob(glob))
        environment = self.full if full else self.quick
        started = time.monotonic()
        options = ["-q", "--timeout=0", f"--junitxml={report}", "-p", "no:cacheprovider"]
        _run(["pytest", *options, *files], environment)
        suite = ET.parse(report).getroot().find("testsuite")  # noqa: S314 -- our own pytest's
        assert suite is not None, "pytest writes a suite into each report"
        verdict = Verdict(
            layer=self.name,
            claims=self.claims,
            tried=self.tried.format(suite.get("tests"), **environment),
            violations=int(suite.get("failures", "0")) + int(suite.get("errors", "0")),
            seconds=time.monotonic() - started,
            is_short=suite.get("tests") == suite.get("skipped"),
        )
        return [verdict]


LAYERS: tuple[Layer | TestedLayer, ...] = (
    TestedLayer(
        name="model",
        claims=("C1", "C2", "C3", "C5"),
        files=("proof/test_model*.py",),
        quick={"MODEL_EXAMPLES": "300"},
        full={"MODEL_EXAMPLES": "2000"},
        tried="{MODEL_EXAMPLES} machines, {} tests",
    ),
    Layer(
        name="schedules",
        module="tests.proof.schedules",
        quick="--seeds 2000",
        full="--seeds 10000",
    ),
    Layer(
        name="every crash point",
        module="tests.proof.crash_points",
        quick="--points 2000",
        full="--points 10000",
    ),
    TestedLayer(
        name="kills at every entry",
        claims=("C1", "C2", "C3", "C5"),
        files=("crash/test_every_entry.py",),
        tried="{} scenarios, each killed at every entry",
    ),
    Layer(
        name="kills at random moments",
        module="tests.crash.random_kills",
        quick="--kills 30 --runs 300",
        full="--kills 500 --runs 2500",
    ),
    Layer(
        name="kills inside commits",
        module="tests.proof.kills",
        quick="--kills 30",
        full="--kills 500",
        needs="compiler",
    ),
    Layer(
        name="kills inside commits, sharing",
        module="tests.proof.shared_kills",
        quick="--kills 20",
        full="--kills 200",
        needs="compiler",
    ),
    Layer(
        name="stops and kills of sharing workers",
        module="tests.crash.random_stops",
        quick="--runs 300 --kills 10 --stops 10",
        full="--runs 2000 --kills 60 --stops 60",
    ),
    Layer(
        name="power cuts",
        module="tests.proof.power",
        quick="--images 200 --runs 60",
        full="--images 2800",
        needs="compiler",
    ),
    Layer(
        name="failing disk",
        module="tests.proof.disk_faults",
        quick="--rounds 5 --images 5",
        full="--rounds 40 --images 20",
        needs="compiler",
    ),
    Layer(
        name="full disks and openings",
        module="tests.proof.full_disk",
        quick="--rounds 3 --openings 12",
        full="--rounds 12 --openings 60",
    ),
    Layer(
        name="calls in doubt",
        module="tests.proof.doubt",
        quick="--kills 15",
        full="--kills 200",
    ),
    Layer(
        name="company",
        module="tests.proof.company",
        quick="--seconds 20",
        full="--seconds 120",
    ),
    TestedLayer(
        name="clocks",
        claims=("C1", "C2", "C5"),
        files=("proof/test_clocks.py",),
        tried="{} tests",
    ),
    Layer(
        name="flipped bits",
        module="tests.proof.damage",
        quick="--flips 300",
        full="--flips 1000",
    ),
    TestedLayer(
        name="golden journals",
        claims=("C1", "C2", "C3"),
        files=("golden/test_*.py",),
        tried="{} journals and checks",
    ),
    Layer(
        name="fuzzed decoders",
        module="tests.proof.fuzz",
        quick="--plain --seconds 10",
        full="--plain --seconds 120",
    ),
    Layer(
        name="soak",
        module="tests.proof.soak",
        quick="1 --live 300",
        full="60",
        needs="linux",
    ),
    Layer(
        name="mutants",
        module="tests.proof.mutants",
        quick='--only "sync off" "outcomes handed over in request order on replay"',
        full="",
        needs="compiler",
    ),
)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a module, its output passed on if it fails."""
    sys.stdout.write(f"\n$ python -m {' '.join(command)}\n")
    sys.stdout.flush()
    # The checkout comes last on its path: where the package is installed, that one is tried.
    start = (
        f"import runpy, sys; sys.path.append({str(TESTS.parent)!r}); "
        "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    )
    subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", start, *command], env=os.environ | environment, check=False
    )


def table(verdicts: Sequence[Verdict], missing: Sequence[str]) -> str:
    """Layers by claims: a claim that a layer tried has a 0, or that it was violated.

    Args:
        verdicts: What layers found.
        missing: Layers that came to no verdict, with the reason.
    """
    heading = f"{'layer':37}{'  '.join(CLAIMS)}  {'tried':46}{'violations':>10}{'seconds':>9}"
    return "\n".join([heading, *map(_row, verdicts), *missing])


def _row(verdict: Verdict) -> str:
    found = "!" if verdict.violations and not verdict.must_fail else "0"
    tried = "  ".join(f"{found if c in verdict.claims else '-':>2}" for c in CLAIMS)
    remarks = [
        "" if verdict.holds else "  FAILED",
        "  must fail" if verdict.must_fail else "",
        "  fell short" if verdict.is_short else "",
    ]
    return (
        f"{verdict.layer:37}{tried}  {verdict.tried:46}{verdict.violations:>10}"
        f"{verdict.seconds:>9.0f}{''.join(remarks)}"
    )


def _missing(need: Need) -> str:
    """Why a layer cannot be tried here; empty if it can."""
    if need == "compiler" and compiler() is None:
        return "the shim needs Linux and a C compiler (cc, gcc)"
    if need == "linux" and sys.platform != "linux":
        return "what a process takes up is read from Linux's /proc"
    return ""


def _try_all(layers: Sequence[Layer | TestedLayer], *, full: bool) -> Iterator[Verdict | str]:
    """The verdicts of all layers; a text for one that could not be tried."""
    for layer in layers:
        if reason := _missing(layer.needs):
            yield f"{layer.name:37}skipped: {reason}"
            continue
        with TemporaryDirectory() as folder:
            found = layer.run(Path(folder), full=full)
        yield from found
        if not found:
            broken = Verdict(
                layer=layer.name,
                claims=(),
                tried="came to no verdict",
                violations=0,
                seconds=0,
                is_short=True,
            )
            yield broken


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.proof", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--full", action="store_true", help="as much as docs/proof.md promises")
    names = [layer.name for layer in LAYERS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="LAYER")
    options = parser.parse_args(arguments)
    chosen = [layer for layer in LAYERS if layer.name in options.only]
    found = list(_try_all(chosen, full=options.full))
    verdicts = [verdict for verdict in found if isinstance(verdict, Verdict)]
    skipped = [reason for reason in found if isinstance(reason, str)]
    sys.stdout.write(f"\n{table(verdicts, skipped)}\n")
    return 0 if all(verdict.holds for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
