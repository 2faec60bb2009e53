"""The table of mutants fits the engine as it is, and a mutant that nobody finds is named."""

from pathlib import Path

import pytest

from tests.crash.verdict import VERDICTS
from tests.proof import mutants
from tests.proof.__main__ import LAYERS
from tests.proof.mutants import PROJECT, Mutant, known

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(
        not (PROJECT / "durable_agents").is_dir(), reason="mutants are made of a checkout"
    ),
]

MUTANTS = known()
PROMISED = {
    "acknowledge before commit",
    "resolve a waiter of a rolled-back transaction",
    "ids from one counter shared by branches",
    "position taken at the await",
    "child ordinal taken at first run",
    "digest after the call",
    "digest by pickle",
    "outcomes handed over in request order on replay",
    "CancelledError recorded",
    "pending not written before the effect",
    "pending read as a result",
    "clear not persisted",
    "clear one record too few",
    "completion split in two transactions",
    "outputs written before the completion",
    "memory applied twice on recovery",
    "lease not checked in the append",
    "expired lease kept",
    "retry budget restarted",
    "sync off",
    "timer fired twice",
    "payload blob collected while referenced",
    "result mutated after recording",
    "exception rebuilt by its constructor",
}
OTHER_LAYERS = {"conformance", "golden journals", "unit tests"}


def test_every_mutant_that_was_promised_is_there_under_a_name_of_its_own() -> None:
    """And says by what it is killed, or why it cannot be made yet."""
    names = [mutant.name for mutant in MUTANTS]

    assert len(names) == len(set(names))
    assert set(names) >= PROMISED
    for mutant in MUTANTS:
        assert bool(mutant.awaits) != bool(mutant.edit and mutant.command), mutant.name


def test_every_mutant_is_killed_by_a_layer_that_there_is() -> None:
    """By the name that the table of all layers has for it."""
    layers = {layer.name for layer in LAYERS} | OTHER_LAYERS

    assert set() == {m.layer for m in MUTANTS if not m.awaits} - layers


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_replaces_is_there_once(mutant: Mutant) -> None:
    """The table must not outlive the code that it breaks."""
    texts = {edit.file: (PROJECT / edit.file).read_text() for edit in mutant.edit}

    for edit in mutant.edit:
        assert 1 == texts[edit.file].count(edit.old), edit.old
        texts[edit.file] = texts[edit.file].replace(edit.old, edit.new)
    for file, text in texts.items():
        if file.endswith(".py"):
            compile(text, file, "exec")


TABLE = """
[[mutant]]
name = "as good as none"
claim = "C1"
breaks = "Nothing that anybody looks at."
layer = "unit tests"
command = "pytest {test}"
[[mutant.edit]]
file = "durable_agents/store/_group_commit.py"
old = "MAX_BATCH = 8192"
new = "MAX_BATCH = 8191"
"""


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("check", "status", "said"),
    [
        ("assert MAX_BATCH > 1", 1, "UNCAUGHT"),
        ("assert MAX_BATCH == 8192", 0, "test_batch: assert 8191 == 8192"),
        ("assert MAX_BATCH == 8191", 1, "fails without any mutant: test_batch"),
        ("assert MAX_BATCH == 8192 or nothing", 1, "did not fail by a check: NameError"),
    ],
    ids=["uncaught", "killed", "broken layer", "no check"],
)
def test_a_mutant_is_killed_by_a_check_that_fails_with_it_alone(  # noqa: PLR0913, PLR0917
    check: str,
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever else goes wrong kills nothing."""
    test = tmp_path / "test_batch.py"
    imported = "from durable_agents.store._group_commit import MAX_BATCH"
    test.write_text(f"{imported}\n\ndef test_batch() -> None:\n    {check}\n")
    table = tmp_path / "mutants.toml"
    table.write_text(TABLE.format(test=test))
    monkeypatch.setenv(VERDICTS, str(tmp_path / "verdicts"))

    assert status == mutants.main(["--table", str(table)])

    assert said in capsys.readouterr().out


def test_a_mutant_that_nobody_knows_is_a_usage_error() -> None:
    """Rather than a proof over nothing."""
    with pytest.raises(SystemExit, match="2"):
        mutants.main(["--only", "no such mutant"])
