"""What layers found comes into one table, which fails when any of them should."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from tests.crash.verdict import VERDICTS, Verdict, conclude
from tests.proof import __main__ as proof
from tests.proof.crash_points import crash_everywhere

KEPT = Verdict(layer="kept", claims=("C1", "C5"), tried="2 cases", violations=0, seconds=1.6)
BROKEN = msgspec.structs.replace(KEPT, layer="broken", violations=3)


def test_a_layer_holds_only_where_it_finds_what_it_must() -> None:
    """A broken engine in which nothing is found is a broken harness."""
    must_fail = msgspec.structs.replace(BROKEN, must_fail=True)
    blind = msgspec.structs.replace(KEPT, must_fail=True)
    short = msgspec.structs.replace(KEPT, is_short=True)

    assert [KEPT.holds, must_fail.holds] == [True, True]
    assert [BROKEN.holds, blind.holds, short.holds] == [False, False, False]


def test_verdicts_are_added_to_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program that tries all layers runs each one as a process."""
    monkeypatch.setenv(VERDICTS, str(tmp_path / "verdicts"))

    statuses = [conclude("all well", [], KEPT), conclude("not well", ["a breach"], BROKEN)]

    lines = (tmp_path / "verdicts").read_bytes().splitlines()
    assert [0, 1] == statuses
    assert [KEPT, BROKEN] == [msgspec.json.decode(line, type=Verdict) for line in lines]
    assert "all well\nnot well\na breach\n" == capsys.readouterr().out


def test_the_table_says_of_each_layer_which_claims_it_tried() -> None:
    """A claim that nobody tried is not proved."""
    heading, kept, broken, missing = proof.table([KEPT, BROKEN], ["no compiler"]).splitlines()

    assert ["layer", *proof.CLAIMS, "tried", "violations", "seconds"] == heading.split()
    assert ["kept", "0", "-", "-", "-", "0", "2", "cases", "0", "2"] == kept.split()
    assert "broken ! - - - ! 2 cases 3 2 FAILED" == " ".join(broken.split())
    assert "no compiler" == missing


def test_a_layer_that_comes_to_no_verdict_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that broke off has proved nothing."""
    gone = proof.Layer(name="gone", module="tests.proof.nothing_here", quick="", full="")
    with trying(monkeypatch, gone):
        assert 1 == proof.main(["--only", "gone"])

    assert "came to no verdict" in capsys.readouterr().out


@pytest.mark.slow
def test_layers_are_run_as_programs_and_as_tests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both kinds end in the same table."""
    tested = proof.TestedLayer(
        name="told", claims=("C2",), files=("proof/test_told.py",), tried="{} tests"
    )
    program = proof.Layer(
        name="points", module="tests.proof.crash_points", quick="--points 1", full=""
    )
    with trying(monkeypatch, tested, program):
        assert 0 == proof.main([])

    *_, heading, told, points = capsys.readouterr().out.splitlines()
    assert heading.startswith("layer")
    assert told.startswith("told")
    assert points.startswith("every crash point")


@pytest.mark.parametrize("layer", proof.LAYERS, ids=lambda layer: layer.name)
def test_what_a_layer_runs_is_there(layer: proof.Layer | proof.TestedLayer) -> None:
    """A renamed program would be found out only by whoever runs the whole proof."""
    if isinstance(layer, proof.Layer):
        assert find_spec(layer.module) is not None
    else:
        assert all(any(proof.TESTS.glob(glob)) for glob in layer.files)


@pytest.mark.slow
def test_crashes_at_every_moment_of_some_trees_breach_nothing() -> None:
    """The same seeds each time; the layer's own session tries many more."""
    report = crash_everywhere(points=100)

    assert [] == report.breaches
    assert 100 <= report.points
    assert 30 <= report.in_recovery


@contextmanager
def trying(
    monkeypatch: pytest.MonkeyPatch, *layers: proof.Layer | proof.TestedLayer
) -> Iterator[None]:
    """As if these were all the layers."""
    with monkeypatch.context() as patched:
        patched.setattr(proof, "LAYERS", layers)
        yield
