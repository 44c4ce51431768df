"""The charts of a tab as inline SVG: columns, bars, lines and pies, drawn from the cells that they refer to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from itertools import accumulate, pairwise
from math import ceil, cos, floor, log10, pi, sin
from typing import Any

from local.google.look import sources
from local.google.ranges import Json

COLOURS = ("#2f6fb0", "#d9822b", "#3f9c6b", "#b04a6f", "#7a68b8", "#8a8f98")
MOST = 30  # labels; the last ones are drawn, of those that have a value
LINES = 5  # across a column chart at most, without the one at 0
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 560, 300, 48, 12, 58  # pixels

Read = Callable[[Json], Sequence[Any]]  # the values of a range, without trailing blanks


def svg(chart: Json, read: Read) -> str:
    """The markup of an EmbeddedChart; "" when its cells hold no number."""
    spec = chart["spec"]
    labels, *columns = [list(read(place)) for place in sources(spec)]
    basic = spec.get("basicChart", {})
    names = [""] * len(columns)
    if basic.get("headerCount"):
        names = [str(column[0]) if column else "" for column in columns]
        labels, columns = labels[1:], [column[1:] for column in columns]
    told_of = [any(column[row : row + 1] not in ([], [""]) for column in columns) for row in range(len(labels))]
    shown = [row for row, label in enumerate(labels) if label != "" and told_of[row]][-MOST:]
    series = [[_number(column, row) for row in shown] for column in columns]
    if not any(value for values in series for value in values):
        return ""
    texts = [str(labels[row]) for row in shown]
    if "pieChart" in spec:
        drawn, names, shades = _pie(series[0]), texts, [[value] for value in series[0]]
    else:
        drawn, shades = _axes(texts, series, basic["chartType"]), series
    told = "; ".join(f"{name or spec['title']}: {_told(texts, values)}" for name, values in zip(names, shades, strict=True))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}" font-size="11">'
        f"{drawn}{_legend(names, 'pieChart' in spec) if len(names) > 1 else ''}</svg>"
    )


def _told(labels: Sequence[str], values: Sequence[float]) -> str:
    return (
        f"{values[0]:g}"
        if len(values) == 1
        else ", ".join(f"{label} {value:g}" for label, value in zip(labels, values, strict=True))
    )


def _number(column: Sequence[Any], row: int) -> float:
    value = column[row] if row < len(column) else 0
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0


def _axes(labels: Sequence[str], series: Sequence[Sequence[float]], kind: str) -> str:
    lines = ticks([value for values in series for value in values])
    highest = lines[-1]
    height, step = HEIGHT - TOP - BOTTOM, (WIDTH - LEFT) / len(labels)
    parts = []
    for tick in lines:
        y = TOP + height * (1 - tick / highest)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH}" stroke="currentColor" stroke-opacity=".15"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="currentColor">{tick:,.10g}</text>')
    every = -(-len(labels) // 8)
    for n, label in enumerate(labels):
        if n % every == 0:
            x, text = LEFT + step * (n + 0.5), escape(label if len(label) <= 12 else label[:11] + "…")
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" fill="currentColor">{text}</text>')
    wide = step * 0.8 / len(series)
    for at, values in enumerate(series):
        colour = COLOURS[at % len(COLOURS)]
        if kind == "LINE":
            points = " ".join(
                f"{LEFT + step * (n + 0.5):.1f},{TOP + height * (1 - v / highest):.1f}" for n, v in enumerate(values)
            )
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
            continue
        for n, value in enumerate(values):
            x, tall = LEFT + step * (n + 0.1) + wide * at, height * value / highest
            title = f"<title>{escape(labels[n])}: {value:g}</title>"
            parts.append(
                f'<rect x="{x:.1f}" y="{TOP + height - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="{colour}">{title}</rect>'
            )
    return "".join(parts)


def ticks(values: Sequence[float]) -> list[float]:
    """The round numbers beside the lines, from 0 to the highest value or a little more; whole ones where all values are."""
    highest = max(values)
    unit = 10.0 ** floor(log10(highest / LINES))
    step = next(unit * by for by in (1, 2, 5, 10) if unit * by * LINES >= highest)
    if all(value == int(value) for value in values):
        step = max(1, step)
    return [round(step * line, 10) for line in range(ceil(round(highest / step, 10)) + 1)]


def _pie(values: Sequence[float]) -> str:
    whole, middle, radius = sum(values), (WIDTH / 3, HEIGHT / 2), HEIGHT / 2 - TOP
    parts = []
    for at, (start, end) in enumerate(pairwise([0.0, *accumulate(values)])):
        colour = COLOURS[at % len(COLOURS)]
        if end - start == whole:
            parts.append(f'<circle cx="{middle[0]}" cy="{middle[1]}" r="{radius}" fill="{colour}"/>')
        elif end > start:
            (x1, y1), (x2, y2) = (
                (middle[0] + radius * sin(2 * pi * turn / whole), middle[1] - radius * cos(2 * pi * turn / whole))
                for turn in (start, end)
            )
            large = int(end - start > whole / 2)
            arc = f"M{middle[0]} {middle[1]}L{x1:.1f} {y1:.1f}A{radius} {radius} 0 {large} 1 {x2:.1f} {y2:.1f}Z"
            parts.append(f'<path d="{arc}" fill="{colour}"/>')
    return "".join(parts)


def _legend(names: Sequence[str], pie: bool) -> str:
    """Below the columns, or down the right of a pie."""
    step = WIDTH / len(names)
    most = 26 if pie else max(2, int((step - 20) / 6.5))  # letters
    parts = []
    for at, name in enumerate(names):
        x, y = (WIDTH - 190, TOP + 18.0 * at) if pie else (step * at + 4, HEIGHT - 20.0)
        text = escape(name if len(name) <= most else name[: most - 1] + "…")
        parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="10" height="10" fill="{COLOURS[at % len(COLOURS)]}"/>')
        parts.append(f'<text x="{x + 14:.1f}" y="{y + 9:.1f}" fill="currentColor">{text}</text>')
    return "".join(parts)
