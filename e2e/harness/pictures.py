"""Draws a dashboard of `manifests/monitoring` from what a Prometheus holds: SVG, without a Grafana, which cannot be installed everywhere."""

import math
import time
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from . import dashboards
from .dashboards import Panel
from .prometheus import Prometheus

COLUMN, LINE, GAP, HEADING = 60, 28, 8, 44
COLUMNS = 24
COLOURS = ("#3274d9", "#e0743c", "#3f9c56", "#b04fc1", "#c9a227", "#d8485b", "#2aa5a0", "#7a6fd0", "#8a8a8a", "#5b8a2d")
POINTS = 90
LEGEND_MAX = 6
LETTER = 6.2  # the width of one, about
STYLE = "text{font:12px sans-serif;fill:#222}.t{font-weight:bold}.s{font-size:10px;fill:#666}.v{font-size:22px}.h{font-size:18px;font-weight:bold}"


def draw(prometheus: Prometheus, name: str, variables: Mapping[str, str], seconds: float, file: Path) -> None:
    """Draws the last so many seconds of a dashboard."""
    shown = {**variables, "__rate_interval": "10s"}
    panels = list(dashboards.panels(name, shown))
    height = HEADING + max(panel.place["y"] + panel.place["h"] for panel in panels) * LINE + GAP
    width = COLUMNS * COLUMN + GAP
    chosen = ", ".join(value for value in variables.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<style>{STYLE}</style><rect width="{width}" height="{height}" fill="#f4f5f7"/>',
        f'<text x="{GAP}" y="28" class="h">{escape(dashboards.title(name))}</text>',
        f'<text x="{width - GAP}" y="28" text-anchor="end" class="s">{escape(chosen)}; {seconds:.0f} s until {time.strftime("%H:%M:%S UTC", time.gmtime())}</text>',
    ]
    for panel in panels:
        x, y = panel.place["x"] * COLUMN + GAP, panel.place["y"] * LINE + HEADING
        w, h = panel.place["w"] * COLUMN - GAP, panel.place["h"] * LINE - GAP
        if panel.kind == "row":
            parts.append(f'<text x="{x}" y="{y + 18}" class="t">{escape(panel.title)}</text>')
            continue
        parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="#fff" stroke="#d8dade"/><text x="{x + 8}" y="{y + 17}" class="t">{escape(panel.title)}</text>')
        parts += figure(prometheus, panel, x, y, w, h) if panel.kind == "stat" else curves(prometheus, panel, seconds, x, y, w, h)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*parts, "</svg>", ""]))


def figure(prometheus: Prometheus, panel: Panel, x: float, y: float, w: float, h: float) -> list[str]:
    """One figure, or a few with their names."""
    (expression, legend), *_ = panel.queries
    found = prometheus.query(expression)
    said = [f"{called(legend, labels)} {panel.words.get(f'{value:g}', quantity(value, panel.unit))}".strip() for labels, value in found]
    text = ", ".join(said) or "none"
    small = "" if len(text) < 14 else ' style="font-size:13px"'
    return [f'<text x="{x + w / 2}" y="{y + h / 2 + 14}" text-anchor="middle" class="v"{small}>{escape(text)}</text>']


def curves(prometheus: Prometheus, panel: Panel, seconds: float, x: float, y: float, w: float, h: float) -> list[str]:
    """Curves over time, with a scale and a legend."""
    series = [
        (called(legend, labels), [(when, value) for when, value in values if math.isfinite(value)])
        for expression, legend in panel.queries
        for labels, values in prometheus.range(expression, seconds, max(1.0, seconds / POINTS))
    ]
    if panel.stacked:
        series = stacked(series)
    left, right, top, bottom = x + 58, x + w - 10, y + 28, y + h - 34
    end = time.time()
    values = [value for _, line in series for _, value in line]
    high = nice(max([*values, 0.0]))
    parts = []
    for share in (0.0, 0.5, 1.0):
        at = bottom - share * (bottom - top)
        parts.append(f'<path d="M{left} {at:.1f}H{right}" stroke="#e6e7ea"/><text x="{left - 5}" y="{at + 4:.1f}" text-anchor="end" class="s">{escape(quantity(share * high, panel.unit))}</text>')
    for index, (_, line) in enumerate(series):
        points = " ".join(f"{right - (end - when) / seconds * (right - left):.1f},{bottom - value / high * (bottom - top):.1f}" for when, value in line)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[index % len(COLOURS)]}" stroke-width="1.5"/>')
    at = x + 8.0
    for index, (label, _) in enumerate(series[:LEGEND_MAX]):
        needed = 20 + LETTER * len(label)
        if at + needed > x + w:
            break
        parts.append(f'<rect x="{at:.0f}" y="{y + h - 18}" width="10" height="3" fill="{COLOURS[index % len(COLOURS)]}"/><text x="{at + 13:.0f}" y="{y + h - 12}" class="s">{escape(label)}</text>')
        at += needed
    return parts


def stacked(series: Sequence[tuple[str, list[tuple[float, float]]]]) -> list[tuple[str, list[tuple[float, float]]]]:
    """Each curve upon the ones before it."""
    sums: dict[float, float] = {}
    out = []
    for label, line in series:
        above = []
        for when, value in line:
            sums[when] = sums.get(when, 0.0) + value
            above.append((when, sums[when]))
        out.append((label, above))
    return out


def called(legend: str, labels: Mapping[str, str]) -> str:
    """A legend with the values of labels."""
    for name, value in labels.items():
        legend = legend.replace("{{" + name + "}}", value)
    return legend


def nice(value: float) -> float:
    """The next round number."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value)


def quantity(value: float, unit: str) -> str:
    """A value in its unit."""
    if not math.isfinite(value):
        return "none"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit in ("bytes", "Bps"):
        for prefix in ("", "Ki", "Mi", "Gi"):
            if abs(value) < 1024 or prefix == "Gi":
                return f"{value:.3g} {prefix}B{'/s' if unit == 'Bps' else ''}"
            value /= 1024
    suffix = {"s": " s", "ms": " ms", "reqps": "/s", "ops": "/s", "pps": "/s"}.get(unit, "")
    if abs(value) >= 10_000:
        return f"{value / 1000:.4g}k{suffix}"
    return f"{value:.3g}{suffix}"
