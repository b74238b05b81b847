"""The page: tables and charts written by the template, videos played by its script.

Videos are embedded where all of them are small, else linked beside the page; which of the two it is
stands on the page. Words of prompts are the only ones from outside, and reach it escaped.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from curation.pages.page import Parts, render, script_json
from evaluation.metrics.metric import PROXY_BANNER
from evaluation.report import charts
from evaluation.report.choosing import (
    Entry,
    curves,
    entries_of,
    entry_of,
    extremes,
    shown_prompts,
)
from evaluation.results import TOTAL, Comparison, Evaluation

TEMPLATES = Path(__file__).parent / "templates"
_STYLES = ("base.css", "evaluation.css")
_SCRIPTS = ("base.js", "players.js", "start.js")
_LINKED = "data: 'self' file:"
_EMBEDDED = "data:"
_GIB = 1 << 30
_SHOWN_FAILURES = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Media:
    """Where the page finds its videos and pictures.

    Attributes:
        videos: a video's key -> ``data:`` address, or a path relative to the page.
        pictures: prompt -> ``data:`` address of a small first frame.
        linked: videos are paths.
    """

    videos: Mapping[str, str]
    pictures: Mapping[str, str]
    linked: bool


def render_report(
    evaluation: Evaluation,
    against: Evaluation | None,
    changes: Mapping[str, Mapping[str, Comparison]],
    media: Media,
) -> str:
    """The report as one HTML file.

    Args:
        evaluation: the report's own.
        against: one that it is held against.
        changes: variant's label -> measure -> this evaluation minus the other, prompt by prompt.
        media: videos and pictures.
    """
    runs = [evaluation] if against is None else [evaluation, against]
    entries = entries_of(evaluation, against)
    measures = list(dict.fromkeys(name for run in runs for name in run.measures))
    return render(
        "evaluation.html",
        Parts(TEMPLATES, _STYLES, _SCRIPTS, _LINKED if media.linked else _EMBEDDED),
        _FUNCTIONS,
        evaluation=evaluation,
        against=against,
        runs=runs,
        entries=entries,
        measures=measures,
        changes=changes,
        pairs=_pairs(evaluation),
        proxy=any(run.proxy for run in runs),
        banner=PROXY_BANNER,
        linked=media.linked,
        failures=[failure for run in runs for failure in run.failures][:_SHOWN_FAILURES],
        failure_count=sum(len(run.failures) for run in runs),
        plots=_plots(entries, measures),
        drifts=_drifts(runs, entries, measures),
        extremes={name: extremes(evaluation, name) for name in evaluation.origin.metrics},
        texts={prompt.id: prompt.text for run in runs for prompt in run.prompts},
        prompt_count=len(shown_prompts(evaluation, against)),
        configs=[json.dumps(run.origin.config, indent=1, sort_keys=True) for run in runs],
        stage_data=script_json(_stage(runs, entries, media, shown_prompts(evaluation, against))),
    )


def words(measure: str) -> str:
    """A measure's name for people."""
    return "Total score" if measure == TOTAL else measure.replace("_", " ").capitalize()


def _pairs(evaluation: Evaluation) -> dict[tuple[int, int], dict[str, Comparison]]:
    """Variants -> measure -> their difference."""
    found: dict[tuple[int, int], dict[str, Comparison]] = {}
    for comparison in evaluation.differences:
        pair = comparison.first, comparison.second
        found.setdefault(pair, {})[comparison.measure] = comparison
    return found


def _plots(entries: list[Entry], measures: list[str]) -> list[Any]:
    found = []
    for measure in measures:
        points = [
            (entry, entry.result.measures[measure])
            for entry in entries
            if measure in entry.result.measures
        ]
        title = f"{words(measure)} against PFLOPs, {len(points)} points"
        found.append(charts.quality_against_cost(points, words(measure), title))
    return found


def _drifts(runs: list[Evaluation], entries: list[Entry], measures: list[str]) -> list[Any]:
    found = []
    for metric in measures:
        for kind, lines in curves(runs, entries, metric).items():
            # A single clip is a number, and that stands in the table.
            if any(len(line.seconds) > 1 for line in lines):
                caption = f"{words(metric)}, {kind}"
                found.append(charts.drift(lines, entries, caption, f"{caption}, over time"))
    return found


def _stage(
    runs: list[Evaluation], entries: list[Entry], media: Media, prompts: list[str]
) -> dict[str, Any]:
    numbers = entry_of(entries)
    about = {prompt.id: prompt for run in runs for prompt in run.prompts}
    videos: dict[str, list[dict[str, Any]]] = {prompt: [] for prompt in prompts}
    for run, evaluation in enumerate(runs):
        for video in evaluation.videos:
            if video.prompt in videos and video.key in media.videos:
                videos[video.prompt].append(
                    {
                        "entry": numbers[run, video.variant],
                        "seed": video.seed,
                        "src": media.videos[video.key],
                        "frames": video.frames,
                        "rate": evaluation.variants[video.variant].variant.tree.rates[-1],
                        "percents": {
                            name: 100.0 * result.value for name, result in video.metrics.items()
                        },
                    }
                )
    return {
        "entries": [entry.label for entry in entries],
        "measures": {name: words(name) for run in runs for name in run.origin.metrics},
        "prompts": [
            {
                "id": prompt,
                "text": about[prompt].text,
                "licence": about[prompt].licence,
                "picture": media.pictures.get(prompt),
                "videos": sorted(found, key=lambda video: (video["entry"], video["seed"])),
            }
            for prompt, found in videos.items()
        ],
    }


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}\u202fs"


def _gib(value: int | None) -> str:
    return "–" if value is None else f"{value / _GIB:.3g}\u202fGiB"


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "words": words,
    "seconds": _seconds,
    "gib": _gib,
}
