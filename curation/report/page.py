"""The page: one HTML file with everything in it, that asks the network for nothing.

Numbers and tables are written here (Jinja, autoescaped), so that they can be read, searched and
printed without a script; the what-if, the gallery and the details are drawn by the scripts beside
the templates. The security policy in the page's head names both by their hash: a caption that
smuggled a script in would not be run, even if it were not escaped.
"""

import base64
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from curation.report.charts import histogram, share_bar
from curation.report.document import Report
from curation.report.embedding import PageData, script_json
from curation.report.meanings import reason_words
from curation.report.wording import FILTERS

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("base.js", "whatif.js", "strips.js", "details.js", "gallery.js", "start.js")
STYLES = ("base.css", "sections.css", "print.css")
MAX_BYTES = 15_000_000


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
    link: str | None


def render_report(report: Report, data: PageData) -> str:
    """The report as one HTML file."""
    columns = {threshold.name: threshold.column for threshold in report.whatif.thresholds}
    return _render(
        "report.html",
        scripts=SCRIPTS,
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
    return _render("index.html", scripts=(), entries=entries)


def _render(template: str, *, scripts: tuple[str, ...], **context: Any) -> str:  # noqa: ANN401 - what a template is given
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(FILTERS)
    environment.globals.update(histogram=histogram, share_bar=share_bar)
    style, script = _joined(STYLES), _joined(scripts)
    return environment.get_template(template).render(
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704 - our own file
        style_hash=_hash(style),
        script_hash=_hash(script),
        **context,
    )


def _joined(names: tuple[str, ...]) -> str:
    text = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)
    assert "</script" not in text, "it would end the element that it stands in"
    assert "</style" not in text, "it would end the element that it stands in"
    return text


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
