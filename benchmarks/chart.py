"""Draws results: an SVG beside each file for each of its workloads.

    python -m benchmarks.chart FILE...

takes what `python -m benchmarks` and `python -m benchmarks.peers` write. Of the first it draws
the ratio to what each figure is held against, of the second the rate of each system, or the
seconds where a rate says nothing. Bars are medians, lines go from the lowest to the highest.
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from math import log10
from pathlib import Path
from typing import Any

from benchmarks.tables import contest_of, name, shown

__all__ = ["drawings", "main"]

WIDTH, LABELS, NUMBERS = 1040, 560, 90
"""Pixels of the whole, of the text on the left and of the figures on the right."""
ROW, HEAD, BAR = 24, 44, 14
WIDEST = WIDTH - LABELS - NUMBERS
RATES = dict.fromkeys(("W1", "W2", "W6"), ("calls_per_second", "calls/s"))
LINEAR_UP_TO = 50.0
"""Where the greatest is more often the smallest, the scale is logarithmic."""


@dataclass(frozen=True)
class Bar:
    """The values of one row of a chart, from all pairs or rounds."""

    label: str
    values: list[float]

    @property
    def median(self) -> float:
        """How long the bar is."""
        return statistics.median(self.values)


def main(files: list[str]) -> None:
    """Draw each file."""
    for path in map(Path, files):
        for _, drawn, drawing in drawings(path):
            drawn.write_text(drawing, encoding="utf-8")
            print(drawn)


def drawings(path: Path) -> Iterator[tuple[str, Path, str]]:
    """Of a file of results each workload, or contest of peers, its SVG's path and the SVG."""
    for subject, kind, bars in charts_of(json.loads(path.read_text(encoding="utf-8"))):
        title = f"{subject}: {kind}, medians of {len(bars[0].values)}"
        drawn = path.with_name(f"{path.stem}-{subject.replace(' ', '-')}.svg")
        yield subject, drawn, draw(title, bars)


def charts_of(record: dict[str, Any]) -> Iterator[tuple[str, str, list[Bar]]]:
    """What is measured, what the bars are of, and the bars."""
    is_ours = "results" in record
    lines: list[dict[str, Any]] = record["results"] if is_ours else measured(record["lines"])
    for workload in dict.fromkeys(line["workload"] for line in lines):
        some = [line for line in lines if line["workload"] == workload]
        kind = "ratio" if is_ours else some[0]["figure"]
        yield workload, kind, [Bar(label(line), line["ratios"]) for line in some]


def label(line: dict[str, Any]) -> str:
    """What a row says about itself."""
    words = (line["figure"], line["size"], line["settings"]) if "against" in line else ()
    return ", ".join(filter(None, words)) or str(line["size"])


def measured(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of peers, those of one system and size made one."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for line in (line for line in lines if "seconds" in line):
        key, figure = RATES.get(line["workload"], ("seconds", "seconds"))
        workload, size = contest_of(line), name(line)
        one = {"workload": workload, "size": size, "figure": figure, "ratios": list[float]()}
        found.setdefault((workload, size), one)["ratios"].append(line[key])
    return list(found.values())


def draw(title: str, bars: list[Bar]) -> str:
    """An SVG with a bar for each row."""
    values = [value for bar in bars for value in bar.values if value > 0]
    low, high = min(values), max(values)
    is_log = high > LINEAR_UP_TO * low
    base = log10(low) - 0.3 if is_log else 0.0
    scale = WIDEST / ((log10(high) if is_log else high) - base)

    def pixels(value: float) -> float:
        return LABELS + max(0.0, ((log10(value) if is_log else value) - base) * scale)

    rows = "".join(row(bar, HEAD + ROW * n, pixels) for n, bar in enumerate(bars))
    height, note = HEAD + ROW * len(bars) + 10, ", logarithmic" if is_log else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n'
        f'<text x="10" y="24" font-size="16">{escape(title + note)}</text>\n{rows}</svg>\n'
    )


def row(bar: Bar, y: int, pixels: Callable[[float], float]) -> str:
    """A label, a bar, the spread and the figure."""
    low, middle, high = (pixels(v) for v in (min(bar.values), bar.median, max(bar.values)))
    text, line = y + BAR - 3, y + BAR / 2
    return (
        f'<text x="{LABELS - 8}" y="{text}" text-anchor="end">{escape(bar.label)}</text>\n'
        f'<rect x="{LABELS}" y="{y}" width="{middle - LABELS:.1f}" height="{BAR}" '
        'fill="#3b6ea5"/>\n'
        f'<path d="M{low:.1f} {line}H{high:.1f}" stroke="#d9822b" stroke-width="2"/>\n'
        f'<text x="{WIDTH - 10}" y="{text}" text-anchor="end">{shown(bar.median)}</text>\n'
    )


if __name__ == "__main__":
    main(sys.argv[1:])
