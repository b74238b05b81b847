"""A plan as a picture: lines of text for a terminal, and SVG for a page.

Time runs to the right, levels run down from coarse to fine, and each window is a bar over the time
that it covers. Neither form needs a library; the text one shows windows, the other frames too.
"""

from collections.abc import Callable, Iterator
from html import escape

from model.tree import Node, Plan


def text_picture(plan: Plan, width: int = 80) -> list[str]:
    """Lines of at most `width` characters: a bar for each window, frame numbers below.

    Bars show their node's name where there is room. Under a level, ``^`` marks frames that the user
    gave and ``=`` a continuation's prefix.
    """
    names = [f"{rate} fps " for rate in plan.schedule.rates]
    label = max(map(len, names))
    columns = max(width - label, 8)
    last = max(node.end for node in plan.nodes)

    def column(frame: int) -> int:
        return round(frame / max(last, 1) * (columns - 1))

    lines = []
    for number, name in enumerate(names):
        nodes = plan.level(number)
        lines.append(name.rjust(label) + _bars(nodes, column, columns))
        marks = {
            column(placed.placed): "=" if placed.asked < plan.prefix else "^"
            for node in nodes
            for placed in node.given
            if placed.placed is not None
        }
        if marks:
            row = "".join(marks.get(place, " ") for place in range(columns))
            lines.append((" " * label + row).rstrip())
    return [*lines, " " * label + _axis(plan, column, columns)]


def _bars(nodes: tuple[Node, ...], column: Callable[[int], int], columns: int) -> str:
    row = [" "] * columns
    for node in nodes:
        left, right = column(node.start), column(node.end)
        row[left : right + 1] = ["┼", *["─"] * (right - left)]
        name = f" {node.id} " if right - left > len(node.id) + 2 else node.id
        if right - left > len(name):
            start = (left + right + 1 - len(name)) // 2
            row[start : start + len(name)] = name
    row[column(nodes[0].start)], row[column(nodes[-1].end)] = "├", "┤"
    return "".join(row).rstrip()


def _axis(plan: Plan, column: Callable[[int], int], columns: int) -> str:
    """Frame numbers at the ends of the leaves, where there is room; the last one always."""
    row = [" "] * columns
    bounds = [plan.leaves[-1].end, *(node.start for node in plan.leaves)]
    for frame in bounds:
        text = str(frame)
        place = min(max(column(frame) - len(text) // 2, 0), columns - len(text))
        if not "".join(row[max(place - 1, 0) : place + len(text) + 1]).strip():
            row[place : place + len(text)] = text
    return "".join(row).rstrip()


# -- SVG --------------------------------------------------------------------------------------

_LEFT, _RIGHT, _TOP = 74, 26, 58
_BAR, _GAP = 36, 40
_TICK = 2.0  # frames nearer to each other than so many pixels are not drawn one by one
_INK, _FAINT, _PAPER = "#22313a", "#7d8c95", "#ffffff"
_FILL, _EDGE, _ANCHOR, _GIVEN = "#dce8ee", "#5c7f93", "#c8632b", "#1d7a57"


def svg_picture(plan: Plan, width: int = 1200) -> str:
    """A standalone SVG document: windows, their frames, anchors from above, and given frames."""
    last = max(node.end for node in plan.nodes)
    scale = (width - _LEFT - _RIGHT) / max(last, 1)

    def place(frame: int) -> float:
        return _LEFT + frame * scale

    height = _TOP + len(plan.schedule.rates) * (_BAR + _GAP) + 34
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="Helvetica, Arial, sans-serif">'
    )
    parts = [
        head,
        f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>',
        _words(_LEFT, 24, _title(plan), size=16, anchor="start"),
    ]
    for node in plan.nodes:
        parts.extend(_links(plan, node, place))
    for number, rate in enumerate(plan.schedule.rates):
        parts.append(_words(_LEFT - 12, _row(number) + _BAR / 2 + 5, f"{rate} fps", anchor="end"))
        for node in plan.level(number):
            parts.extend(_window(node, place, scale))
    parts.extend(_legend(plan, place, height))
    return "\n".join([*parts, "</svg>", ""])


def _title(plan: Plan) -> str:
    seconds = plan.frames / plan.schedule.top_rate
    planned = "" if plan.end + 1 == plan.frames else f", planned as {plan.end + 1}"
    given = f", {plan.prefix} of them given" if plan.prefix else ""
    return f"{plan.schedule}: {plan.frames} frames{given} ({seconds:.1f} s){planned}"


def _row(number: int) -> float:
    return _TOP + number * (_BAR + _GAP)


def _links(plan: Plan, node: Node, place: Callable[[int], float]) -> Iterator[str]:
    """From the middle of each node that a node depends on, where it covers more than the joint."""
    for name in node.dependencies:
        parent = plan.node(name)
        if parent.end <= node.start or parent.start >= node.end:
            continue
        start, end = (place((n.start + n.end) // 2) for n in (parent, node))
        top, bottom = _row(parent.level) + _BAR, _row(node.level)
        middle = (top + bottom) / 2
        yield (
            f'<path d="M{start:.1f} {top} C{start:.1f} {middle} {end:.1f} {middle} {end:.1f} '
            f'{bottom}" fill="none" stroke="{_FAINT}" stroke-width="1"/>'
        )


def _window(node: Node, place: Callable[[int], float], scale: float) -> Iterator[str]:
    left, right, top = place(node.start), place(node.end), _row(node.level)
    yield (
        f'<rect x="{left:.1f}" y="{top}" width="{max(right - left, 1):.1f}" height="{_BAR}" '
        f'fill="{_FILL}" stroke="{_EDGE}"/>'
    )
    if node.stride * scale >= _TICK:
        yield from (_tick(place(f), top + _BAR - 5, 5, _EDGE) for f in node.frames)
    anchors = [anchor.frame for anchor in node.anchors]
    if len(anchors) > 1 and (anchors[1] - anchors[0]) * scale >= _TICK:
        yield from (_tick(place(f), top, 8, _ANCHOR) for f in anchors)
    elif anchors:
        yield (
            f'<rect x="{left:.1f}" y="{top}" width="{right - left:.1f}" height="5" '
            f'fill="{_ANCHOR}" opacity="0.6"/>'
        )
    for placed in node.given:
        assert placed.placed is not None
        yield _tick(place(placed.placed), top - 4, _BAR + 8, _GIVEN, width=1.8)
    if right - left > 9 * len(node.id):
        yield _words((left + right) / 2, top + _BAR / 2 + 5, node.id, halo=True)


def _tick(x: float, y: float, length: float, colour: str, *, width: float = 1.0) -> str:
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{y + length:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def _legend(plan: Plan, place: Callable[[int], float], height: int) -> Iterator[str]:
    """Frame numbers at the leaves' ends, and what the colours mean."""
    below = _row(len(plan.schedule.rates) - 1) + _BAR + 20
    free = -1.0
    for frame in [node.start for node in plan.leaves] + [plan.leaves[-1].end]:
        if place(frame) - free > 40:
            yield _words(place(frame), below, str(frame), colour=_FAINT)
            free = place(frame)
    x = float(_LEFT)
    for colour, meaning in (
        (_EDGE, "frames of the window"),
        (_ANCHOR, "anchors from the level above"),
        (_GIVEN, "given by the user"),
    ):
        yield f'<rect x="{x}" y="{height - 23}" width="10" height="10" fill="{colour}"/>'
        yield _words(x + 16, height - 14, meaning, anchor="start", colour=_FAINT)
        x += 220


def _words(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 13,
    anchor: str = "middle",
    colour: str = _INK,
    halo: bool = False,
) -> str:
    outline = f' stroke="{_FILL}" stroke-width="4" paint-order="stroke"' if halo else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{colour}"{outline}>{escape(text)}</text>'
    )
