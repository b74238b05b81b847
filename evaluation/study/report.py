"""The report as a page, as markdown and as JSON: a table like the paper's, and what is behind it.

The page needs no script and no other file. Interval bars are drawn as SVG on one common scale, so
that systems can be compared by eye before the tests say whether the eye is right.
"""

import json
from collections.abc import Callable
from pathlib import Path

from markupsafe import Markup

from curation.pages.page import Parts, render
from curation.unfinished import replacing
from evaluation.study.results import TOTAL, Results
from evaluation.study.scales import HIGHEST, LOWEST
from evaluation.study.statistics import Interval

_PARTS = Parts(
    templates=Path(__file__).parent / "templates" / "report", styles=("base.css", "report.css")
)
_WIDTH, _HEIGHT, _MARGIN = 240.0, 22.0, 8.0


def render_html(results: Results) -> str:
    """The report as one HTML file."""
    functions: dict[str, Callable[..., object]] = {
        "shown": shown, "signed": signed, "bar": bar, "p_value": p_value, "percent": percent,
    }  # fmt: skip
    return render("report.html", _PARTS, functions, results=results, outcomes=_outcomes(results))


def render_markdown(results: Results) -> str:
    """The report's tables for a pull request or a paper's draft."""
    outcomes = _outcomes(results)
    lines = [f"# {_plain(results.title)}", "", *_summary_lines(results), ""]
    if results.scores:
        lines += _row(["Model", *outcomes.values()]) + _row(["---"] * (len(outcomes) + 1))
        for system in results.systems:
            cells = [_with_ends(results.score(system, o).score) for o in outcomes]
            lines += _row([_plain(system), *cells])
        for printed in results.paper if set(outcomes) == {TOTAL, *results.paper[0].scores} else ():
            scores = {TOTAL: printed.total, **printed.scores}
            lines += _row([f"*{printed.model}, paper*", *(f"*{scores[o]:.2f}*" for o in outcomes)])
        lines.append("")
    lines += _row(["First", "Second", "Outcome", "Difference", "p", "p (Holm)", "Told apart"])
    lines += _row(["---"] * 7)
    for one in results.comparisons:
        lines += _row([
            _plain(one.first), _plain(one.second), outcomes[one.outcome],
            _with_ends(one.difference), p_value(one.p), p_value(one.p_holm),
            "yes" if one.resolved else "no",
        ])  # fmt: skip
    lines += ["", *_row(["Dimension", "Krippendorff's alpha", "Repeats", "Same", "Within one"])]
    lines += _row(["---"] * 5)
    for agreed, kept in zip(results.agreement, results.consistency, strict=True):
        lines += _row([
            outcomes[agreed.dimension], _with_ends(agreed.alpha), str(kept.pairs),
            percent(kept.same), percent(kept.within_one),
        ])  # fmt: skip
    excluded = [rater for rater in results.raters if rater.excluded]
    lines += ["", *(f"- {rater.rater} excluded: {'; '.join(rater.excluded)}" for rater in excluded)]
    return "\n".join(lines).rstrip() + "\n"


def write_report(results: Results, folder: Path) -> tuple[Path, Path, Path]:
    """Write report.html, report.md and results.json.

    Returns:
        Where they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(results.json(), indent=2, sort_keys=True, allow_nan=False) + "\n"
    written = []
    for name, text in (
        ("report.html", render_html(results)),
        ("report.md", render_markdown(results)),
        ("results.json", document),
    ):
        with replacing(folder / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
        written.append(folder / name)
    return written[0], written[1], written[2]


def shown(value: float | None, digits: int = 2) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    """A difference with its sign."""
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")


def between(estimate: Interval) -> str:
    """The ends of an interval, or nothing."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{shown(estimate.low)} to {shown(estimate.high)}"


def percent(value: float | None) -> str:
    """A share."""
    return "–" if value is None else f"{value:.0%}"


def p_value(p: float) -> str:
    """A p-value as papers print it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def bar(estimate: Interval, low: float, high: float, middle: float | None = None) -> Markup:
    """A dot with its interval on a scale from `low` to `high`, and a line at `middle`."""

    def x(value: float) -> str:
        share = (min(max(value, low), high) - low) / (high - low)
        return f"{_MARGIN + share * (_WIDTH - 2 * _MARGIN):.1f}"

    line = _HEIGHT / 2
    parts = [f'<path class="scale" d="M{x(low)} {line:g}H{x(high)}"/>']
    if middle is not None:
        parts.append(f'<path class="middle" d="M{x(middle)} 2V{_HEIGHT - 2:g}"/>')
    if estimate.low is not None and estimate.high is not None:
        parts.append(f'<path class="ends" d="M{x(estimate.low)} {line:g}H{x(estimate.high)}"/>')
    if estimate.value is not None:
        parts.append(f'<circle class="dot" cx="{x(estimate.value)}" cy="{line:g}" r="4.5"/>')
    inside = Markup("".join(parts))  # noqa: S704 - numbers and our own words only
    return Markup(
        '<svg class="bar" viewBox="0 0 {w:g} {h:g}" aria-hidden="true">{inside}</svg>'
    ).format(w=_WIDTH, h=_HEIGHT, inside=inside)


def _outcomes(results: Results) -> dict[str, str]:
    return {TOTAL: "Total", **results.dimensions}


def _summary_lines(results: Results) -> list[str]:
    counted, everybody = len(results.counted), len(results.raters)
    lines = [
        f"{counted} of {everybody} raters count, {results.answers} answers about "
        f"{results.items} items and {len(results.systems)} systems. "
        + (
            f"Registered {results.registered_at} as `{results.fingerprint[:12]}`."
            if results.as_registered
            else "**The study file is not the registered one.**"
        ),
        "",
        f"Brackets: 95 % intervals, raters and items drawn together (scale {LOWEST} to {HIGHEST}).",
    ]
    if results.left is not None:
        lines[-1] = (
            "Differences are shares that prefer the first, ties counted half; brackets are 95 % "
            f"intervals, raters and items drawn together. Left side chosen: "
            f"{_with_ends(results.left)}."
        )
    return lines


def _with_ends(estimate: Interval) -> str:
    if estimate.low is None or estimate.high is None:
        return shown(estimate.value)
    return f"{shown(estimate.value)} [{shown(estimate.low)}, {shown(estimate.high)}]"


def _row(cells: list[str]) -> list[str]:
    return ["| " + " | ".join(cells) + " |"]


def _plain(words: str) -> str:
    """Words in which nothing is markdown or HTML."""
    flat = " ".join(words.split())
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+!|" else c for c in flat)
