"""Losses over t, one panel for each mask, as SVG: no library, and it can be read as text."""

from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _GAP, _TOP, _BOTTOM = 210, 190, 26, 64, 40
_COLOURS = {"network": "#0b6e4f", "linear": "#8a8a8a", "copy": "#d1495b"}


def draw(times: Sequence[float], panels: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """An SVG document.

    Args:
        times: of all curves.
        panels: title -> name of a curve -> its values; NaN where there is none.
    """
    top = 1.05 * max(
        value
        for curves in panels.values()
        for name, values in curves.items()
        for value in values
        if name != "copy" and value == value  # a copy may leave the scale; NaN is not itself
    )
    whole = len(panels) * (_WIDTH + _GAP) + _GAP + 20
    size = f'width="{whole}" height="{_TOP + _HEIGHT + _BOTTOM}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, (name, colour) in enumerate(_COLOURS.items()):
        x = 40 + number * 110
        parts.append(_line([(x, 20), (x + 24, 20)], colour))
        parts.append(f'<text x="{x + 30}" y="24">{escape(name)}</text>')
    for number, (title, curves) in enumerate(panels.items()):
        left = 40 + number * (_WIDTH + _GAP)
        parts += _panel(left, title, times, curves, top)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(
    left: float,
    title: str,
    times: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    top: float,
) -> list[str]:
    def place(t: float, value: float) -> tuple[float, float]:
        return left + _WIDTH * t, _TOP + _HEIGHT * (1 - min(value / top, 1.06))

    middle = f'x="{left + _WIDTH / 2}" y="{_TOP - 16}" text-anchor="middle"'
    box = f'x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}"'
    parts = [
        f'<text {middle} font-weight="bold">{escape(title)}</text>',
        f'<rect {box} fill="none" stroke="#ccc"/>',
    ]
    for t in times:
        x, _ = place(t, 0)
        parts.append(f'<text x="{x}" y="{_TOP + _HEIGHT + 16}" text-anchor="middle">t={t:g}</text>')
    for share in (0.0, 0.5, 1.0):
        _, y = place(0, share * top)
        parts.append(f'<text x="{left - 4}" y="{y + 4}" text-anchor="end">{share * top:.2g}</text>')
    for name, values in curves.items():
        points = [place(t, v) for t, v in zip(times, values, strict=True) if v == v]  # NaN is not
        parts.append(_line(points, _COLOURS[name]))
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{_COLOURS[name]}"/>' for x, y in points]
    return parts


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
