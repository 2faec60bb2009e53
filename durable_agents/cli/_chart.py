"""A sweep as a chart, in SVG: throughput above, latencies below, the knee through both."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap

from durable_agents.cli._bench_report import BenchReport

__all__ = ["chart_of"]

_WIDTH, _HEIGHT = 720, 640
_LEFT, _RIGHT = 80, 690
_PANEL = 210
_THROUGHPUT_TOP, _LATENCY_TOP = 110, 370
_LINE = 100
"""Characters of advice that fit between the edges."""
_INK, _FAINT, _KNEE = "#222222", "#d8d8d8", "#c02f1d"
_LATENCIES = {"p50": "#1f77b4", "p95": "#9467bd", "p99": "#2ca02c"}
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: its name, its colour, a figure for each point of the sweep."""

    name: str
    colour: str
    figures: Sequence[float]


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves over the values of the limit, in a frame of their own."""

    top: int
    title: str
    lines: Sequence[Line]

    @property
    def step(self) -> float:
        """What lies between two lines of the grid: 1, 2 or 5 times a power of ten."""
        most = max((f for line in self.lines for f in line.figures), default=0.0)
        rough = (most or 1.0) / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        return next(n * power for n in (1, 2, 5, 10) if n * power >= rough)

    def y(self, figure: float) -> float:
        """How far down a figure lies."""
        return self.top + _PANEL * (1 - figure / (_TICKS * self.step))


def chart_of(report: BenchReport) -> str:
    """The text of an SVG file."""
    ones = [point.median for point in report.points]
    throughput = Line("runs/s", _LATENCIES["p50"], [one.runs_per_second for one in ones])
    latencies = [
        Line(name, colour, [1000 * getattr(one, f"latency_{name}") for one in ones])
        for name, colour in _LATENCIES.items()
    ]
    panels = (
        Panel(_THROUGHPUT_TOP, "throughput, completed runs/s", [throughput]),
        Panel(_LATENCY_TOP, "latency of runs, ms", latencies),
    )
    values = [point.value for point in report.points]
    parts = [
        _text(_LEFT, 30, f"{report.agent} over {report.input}", size=16),
        *(
            _text(_LEFT, 48 + 14 * number, line, size=11)
            for number, line in enumerate(wrap(report.advice, _LINE))
        ),
        *_knee(report.knee, values),
        *(part for panel in panels for part in _drawn(panel, values)),
        _text((_LEFT + _RIGHT) / 2, _HEIGHT - 12, report.limit, anchor="middle"),
    ]
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        *parts,
        "</svg>\n",
    ])


def _x(value: int, values: Sequence[int]) -> float:
    """How far right a value lies: doubling it is always the same way."""
    if values[0] == values[-1]:
        return (_LEFT + _RIGHT) / 2
    share = math.log(value / values[0]) / math.log(values[-1] / values[0])
    return _LEFT + share * (_RIGHT - _LEFT)


def _drawn(panel: Panel, values: Sequence[int]) -> Iterator[str]:
    yield _text(_LEFT, panel.top - 10, panel.title)
    for number in range(_TICKS + 1):
        figure = number * panel.step
        yield _line((_LEFT, panel.y(figure)), (_RIGHT, panel.y(figure)), _FAINT)
        yield _text(_LEFT - 8, panel.y(figure) + 4, f"{figure:,g}", anchor="end")
    for value in values:
        yield _text(_x(value, values), panel.top + _PANEL + 18, f"{value:,}", anchor="middle")
    for number, line in enumerate(panel.lines):
        yield from _curve(line, panel, values)
        if len(panel.lines) > 1:
            place = _RIGHT - 40 * (len(panel.lines) - number - 1)
            yield _text(place, panel.top - 10, line.name, anchor="end", colour=line.colour)


def _curve(line: Line, panel: Panel, values: Sequence[int]) -> Iterator[str]:
    places = [
        (_x(value, values), panel.y(figure))
        for value, figure in zip(values, line.figures, strict=True)
    ]
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{joined}" fill="none" stroke="{line.colour}" stroke-width="2"/>'
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{line.colour}"/>'


def _knee(knee: int | None, values: Sequence[int]) -> Iterator[str]:
    if knee is None:
        return
    x = _x(knee, values)
    bottom = _LATENCY_TOP + _PANEL
    yield _line((x, _THROUGHPUT_TOP), (x, bottom), _KNEE, dashes="4 3")
    yield _text(x, bottom + 34, f"knee: {knee:,}", anchor="middle", colour=_KNEE)


def _line(
    start: tuple[float, float], end: tuple[float, float], colour: str, *, dashes: str = "none"
) -> str:
    (x1, y1), (x2, y2) = start, end
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-dasharray="{dashes}"/>'
    )


def _text(  # noqa: PLR0913 - a text is made of these
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    anchor: str = "start",
    colour: str = _INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{colour}">{escape(text)}</text>'
    )
