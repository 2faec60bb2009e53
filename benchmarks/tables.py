"""Results as tables in Markdown, for whoever prints them and for the pages.

Of ours beside what it is held against (`python -m benchmarks`) there is a table for each
workload; of systems beside each other (`python -m benchmarks.peers`) one for each contest: a
workload, and of W2 a size.
"""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks.comparison import Result

__all__ = [
    "OURS",
    "Line",
    "comparisons",
    "contest_of",
    "contests",
    "grid",
    "heading",
    "name",
    "shown",
]

Line = dict[str, Any]
"""What one system came to in one round, as its script printed it."""

OURS = "durable_agents"
GREAT = 100.0
"""From here on no decimals are shown."""


def shown(figure: float) -> str:
    """With as many decimals as mean something."""
    return f"{figure:,.0f}" if figure >= GREAT else f"{figure:.2f}"


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> str:
    """A table whose first columns, so many, are words and whose others are numbers."""
    rules = ["---" if column < words else "---:" for column in range(len(heads))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rules, *rows))


# --- ours beside what it is held against ----------------------------------------------------

SUBJECTS = {
    "W1": "calls in sequence, with nothing to share a sync with",
    "W2": "runs of five calls, so many in flight",
    "W3": "calls that wait",
    "W4": "memory of runs that wait",
    "W7": "a store with a past",
    "W9": "results of some size",
    "W10": "functions that compute, in threads",
    "W11": "a commit beside a busy loop",
    "long": "a call of a long run",
}
WORDS = ("size", "settings", "figure", "against")
NUMBERS = ("ours", "theirs", "ratio", "lowest", "highest")


def heading(workload: str) -> str:
    """A workload's name, and what it is about."""
    subject = SUBJECTS.get(workload)
    return f"{workload}: {subject}" if subject else workload


def comparisons(results: Sequence[Result]) -> str:
    """Medians over the pairs, with the lowest and the highest ratio."""
    return grid([*WORDS, *NUMBERS], [cells(result) for result in results], len(WORDS))


def cells(result: Result) -> tuple[str, ...]:
    """A row of the table."""
    ratios = result.ratios
    return (
        result.size,
        result.settings,
        result.figure,
        result.against,
        shown(median(result.ours)),
        shown(median(result.theirs)),
        *(f"{ratio:.2f}" for ratio in (median(ratios), min(ratios), max(ratios))),
    )


# --- systems beside each other --------------------------------------------------------------

TITLES = {
    "W1": "W1: 1 run x 1,000 calls in sequence",
    "W2": "W2: 1,000 runs x 5 calls, {:,} in flight",
    "W3": "W3: 1,000 runs of one wait of 50 ms, 100 in flight",
    "W5": "W5: 1,000 runs x 10 calls, killed half way, from restart to all finished",
    "W6": "W6: 1 run with 10,000 recorded calls, from restart to its next call",
}
CALLS = (lambda line: line["calls_per_second"], ",.0f")
SHARE = (lambda line: line["calls_per_second"] / line["bare"], ".3f")
SECONDS = (lambda line: line["seconds"], ".2f")
COLUMNS: dict[str, dict[str, tuple[Any, str]]] = {
    "W1": {"calls/s": CALLS, "share of bare": SHARE},
    "W2": {"calls/s": CALLS, "share of bare": SHARE},
    "W3": {"seconds": SECONDS, "efficiency": (lambda line: line["efficiency"], ".1%")},
    "W5": {
        "seconds": SECONDS,
        "settled, executed again": (lambda line: line["executed_again"], ",.0f"),
        "in doubt, executed again": (lambda line: line["in_doubt_executed_again"], ",.0f"),
    },
    "W6": {
        "seconds": SECONDS,
        "of them in the run's function": (lambda line: line["replay_seconds"], ".2f"),
        "calls/s in it": CALLS,
        "executed again": (lambda line: line["executed_again"], ",.0f"),
    },
}


def contest_of(line: Line) -> str:
    """What lines have in common that can be held against each other."""
    workload: str = line["workload"]
    return f"{workload} at {in_flight(line)}" if workload == "W2" else workload


def in_flight(line: Line) -> int:
    """Runs at a time, of W2 as it was asked for: a system that failed says nothing of it."""
    count: int = line.get("asked") or line.get("in_flight") or 0
    return count


def contests(lines: Sequence[Line]) -> Iterator[tuple[str, str, str]]:
    """Each contest: by which name `contest_of` knows it, its title, and its table."""
    ordered = sorted(lines, key=lambda line: (line["workload"], in_flight(line)))
    for contest in dict.fromkeys(map(contest_of, ordered)):
        of_contest = [line for line in lines if contest_of(line) == contest]
        first = of_contest[0]
        workload = first["workload"]
        systems = dict.fromkeys(line["system"] for line in of_contest)
        rows = [
            row([line for line in of_contest if line["system"] == system], workload)
            for system in systems
        ]
        table = grid(["system", *COLUMNS[workload]], rows, 1)
        yield contest, TITLES[workload].format(in_flight(first)), table


def row(lines: list[Line], workload: str) -> list[str]:
    """Medians of one system."""
    first, good = lines[0], [line for line in lines if "seconds" in line]
    if not good:
        return [name(first), str(first.get("cannot") or first["failed"]).replace("|", "\\|")]
    columns = COLUMNS[workload].values()
    return [
        name(first),
        *(spread([take(line) for line in good], form) for take, form in columns),
    ]


def name(line: Line) -> str:
    """The system and its version."""
    return f"{line['system']} {line.get('version', '')}".strip()


def spread(values: list[float], form: str) -> str:
    """Median, and lowest to highest where there are several."""
    text = format(median(values), form)
    if len(values) == 1 or min(values) == max(values):
        return text
    return f"{text} ({min(values):{form}} to {max(values):{form}})"
