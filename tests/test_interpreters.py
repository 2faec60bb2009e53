"""Which Pythons count as installed: those that run, wherever they hide."""

from pathlib import Path

from tests._interpreters import Interpreter, installed


def program(path: Path, script: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_an_interpreter_on_the_path_is_found(tmp_path: Path) -> None:
    """The common case; the path is the one that the interpreter itself names."""
    program(tmp_path / "python3.98", "echo /opt/python3.98; echo 3.98.2")

    found = installed(["3.98"], {"PATH": str(tmp_path), "HOME": str(tmp_path)})

    assert found == {"3.98": Interpreter("/opt/python3.98", "3.98.2")}


def test_a_shim_that_refuses_does_not_hide_the_interpreter_behind_it(tmp_path: Path) -> None:
    """A pyenv shim fails unless PYENV_VERSION is set; the version is installed all the same."""
    shim = program(tmp_path / "shims" / "python3.98", "echo 'command not found' >&2; exit 127")
    program(
        tmp_path / "versions" / "3.98.2" / "bin" / "python3.98",
        "echo /opt/python3.98; echo 3.98.2",
    )

    found = installed(["3.98"], {"PATH": str(shim.parent), "PYENV_ROOT": str(tmp_path)})

    assert found == {"3.98": Interpreter("/opt/python3.98", "3.98.2")}


def test_a_program_of_another_version_does_not_count(tmp_path: Path) -> None:
    """A link named `python3.98` that starts 3.97 would run the suite on 3.97 twice."""
    program(tmp_path / "python3.98", "echo /opt/python3.97; echo 3.97.0")

    assert installed(["3.98"], {"PATH": str(tmp_path), "HOME": str(tmp_path)}) == {}


def test_a_version_that_is_nowhere_is_left_out(tmp_path: Path) -> None:
    """The closing lines name it as not installed."""
    assert installed(["3.98"], {"PATH": str(tmp_path), "HOME": str(tmp_path)}) == {}
