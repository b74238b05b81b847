"""The page: one HTML file with everything in it, that asks the network for nothing.

Numbers and tables are written by the templates, so that they can be read, searched and printed
without a script; the what-if, the gallery and the details are drawn by the scripts beside them. How
a page is put together and secured is `curation.pages`' business.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curation.pages.page import Parts, render, script_json
from curation.report.charts import histogram, share_bar
from curation.report.document import Report
from curation.report.embedding import PageData
from curation.report.meanings import reason_words

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("base.js", "whatif.js", "strips.js", "details.js", "gallery.js", "start.js")
STYLES = ("base.css", "sections.css", "print.css")
MAX_BYTES = 15_000_000
_CHARTS: dict[str, Callable[..., Any]] = {"histogram": histogram, "share_bar": share_bar}


@dataclasses.dataclass(frozen=True, slots=True)
class IndexEntry:
    """A version on the index page."""

    reference: str
    published: str
    state: str
    """The verdict's state, or 'none' when the version has no report."""
    headline: str
    samples: int
    hours: float
    films: int
    bytes: int
    verified: str
    """The last verification in words."""
    link: str | None


def render_report(report: Report, data: PageData) -> str:
    """The report as one HTML file."""
    columns = {threshold.name: threshold.column for threshold in report.whatif.thresholds}
    return render(
        "report.html",
        Parts(TEMPLATES, STYLES, SCRIPTS),
        _CHARTS,
        report=report,
        reason=lambda code: reason_words(code, columns),
        measurement_data=script_json(
            [dataclasses.asdict(measurement) for measurement in report.measurements]
        ),
        threshold_data=script_json(
            [dataclasses.asdict(threshold) for threshold in report.whatif.thresholds]
        ),
        whatif_data=script_json(data.whatif),
        gallery_data=script_json(data.gallery),
        strip_data=script_json(data.strips),
    )


def render_index(entries: list[IndexEntry]) -> str:
    """The page that lists all versions."""
    return render("index.html", Parts(TEMPLATES, STYLES), entries=entries)
