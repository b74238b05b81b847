"""Charts that do not move: inline SVG, coloured by the page's style, written without a script."""

from markupsafe import Markup

from curation.pages.wording import significant
from curation.report.document import Histogram

_WIDTH, _HEIGHT = 440.0, 96.0


def histogram(bins: Histogram, title: str, unit: str = "") -> Markup:
    """A histogram of one series or of two, the second drawn over the first.

    Two series are drawn as shares of their own total, so that versions of different size compare.

    Args:
        bins: the counts.
        title: what is counted, for readers who do not see.
        unit: of the axis.
    """
    names = list(bins.series)
    totals = {name: max(1, sum(bins.series[name])) if len(names) > 1 else 1 for name in names}
    highest = max(
        (count / totals[name] for name in names for count in bins.series[name]), default=0.0
    )
    paths = [
        Markup('<path class="series-{}" d="{}"/>').format(
            place, _bars([count / totals[name] / (highest or 1.0) for count in bins.series[name]])
        )
        for place, name in enumerate(names)
    ]
    middle = bins.edges[len(bins.edges) // 2]
    ticks = [significant(value) for value in (bins.edges[0], middle, bins.edges[-1])]
    legend = (
        Markup('<span class="legend">{}</span>').format(
            Markup("").join(
                Markup('<span class="key key-{}">{}</span>').format(place, name)
                for place, name in enumerate(names)
            )
        )
        if len(names) > 1
        else Markup("")
    )
    return Markup(
        '<figure class="chart"><svg viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" '
        'aria-label="{title}">{paths}<path class="axis" d="M0 {h}H{w}"/></svg>'
        '<div class="ticks" aria-hidden="true"><span>{low}</span><span>{mid}</span>'
        "<span>{high} {unit}</span></div>{legend}</figure>"
    ).format(
        w=f"{_WIDTH:g}",
        h=f"{_HEIGHT:g}",
        title=title,
        paths=Markup("").join(paths),
        low=ticks[0],
        mid=ticks[1],
        high=ticks[2],
        unit=unit,
        legend=legend,
    )


def share_bar(part: float, whole: float, kind: str = "") -> Markup:
    """A bar that fills a share of its width."""
    width = 100 * part / whole if whole else 0.0
    return Markup(
        '<svg class="bar {}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="bar-back" width="100" height="8"/><rect class="bar-part" width="{}" '
        'height="8"/></svg>'
    ).format(kind, f"{min(100.0, max(width, 0.6 if part else 0.0)):.2f}")


def _bars(heights: list[float]) -> str:
    step = _WIDTH / max(1, len(heights))
    parts = []
    for place, height in enumerate(heights):
        if height > 0:
            left, right = place * step + 0.5, (place + 1) * step - 0.5
            top = _HEIGHT - max(1.5, height * (_HEIGHT - 6))
            parts.append(f"M{left:.1f} {_HEIGHT:g}V{top:.1f}H{right:.1f}V{_HEIGHT:g}Z")
    return "".join(parts)
