"""What a layer of the proof has found: for people, and as a line of the table of all layers."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

__all__ = ["VERDICTS", "Verdict", "conclude", "figures"]

VERDICTS = "PROOF_VERDICTS"
"""Environment variable: the path of a file to which each verdict is added as a line of JSON."""
_MOST_SHOWN = 20


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one layer came to."""

    layer: str
    claims: tuple[str, ...]
    """Those that it tries, of docs/proof.md: `("C1", "C2")`."""
    tried: str
    """How much, for people: "500 kills of a live run"."""
    violations: int
    seconds: float
    must_fail: bool = False
    """It tried an engine that was broken on purpose."""
    is_short: bool = False
    """It tried less than it was asked for."""

    @property
    def holds(self) -> bool:
        """Whether this is what should have been found."""
        return not self.is_short and self.must_fail == (self.violations > 0)


def figures(rows: Mapping[str, object], width: int = 36) -> str:
    """Names and figures, one to a line."""
    return "\n".join(f"{name:{width}}{figure!s:>10}" for name, figure in rows.items())


def conclude(report: object, breaches: Sequence[str], *verdicts: Verdict) -> int:
    """Say what was found, to people and to whoever asked for verdicts.

    Args:
        report: Its text is shown.
        breaches: Of claims; the first ones are shown.
        verdicts: What it comes to.

    Returns:
        The exit status: 0 if every verdict is as it should be.
    """
    sys.stdout.write("\n".join([str(report), *breaches[:_MOST_SHOWN], ""]))
    if path := os.environ.get(VERDICTS):
        with Path(path).open("ab") as file:
            file.writelines(msgspec.json.encode(verdict) + b"\n" for verdict in verdicts)
    return 0 if all(verdict.holds for verdict in verdicts) else 1
