"""How a page is put together: templates (autoescaped), styles and scripts in one file.

The security policy in the page's head names style and script by their hash: words from outside that
smuggled a script in would not be run, even if they were not escaped. The trade-off: nothing is
loaded on demand, so whoever makes a page bounds what goes into it.
"""

import base64
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from curation.pages.wording import FILTERS

SHARED = Path(__file__).parent / "templates"
"""`frame.html`, `base.css` and `base.js`, which every page may use."""


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """What a page is made of.

    Attributes:
        templates: folder of the page's own templates, styles and scripts; `SHARED` comes after it.
        styles: files, joined in this order.
        scripts: files, joined in this order.
        media: from where the page may play videos, as a content security policy writes it, such as
            "data:" for what is embedded; empty: it plays none.
    """

    templates: Path
    styles: tuple[str, ...]
    scripts: tuple[str, ...] = ()
    media: str = ""


def render(
    template: str,
    parts: Parts,
    functions: Mapping[str, Callable[..., Any]] | None = None,
    **context: Any,  # noqa: ANN401 - what a template is given
) -> str:
    """The page as one HTML file.

    Args:
        template: that extends `frame.html`.
        parts: where it is, and what goes with it.
        functions: that the template calls.
        context: what it shows.
    """
    folders = (parts.templates, SHARED)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(FILTERS)
    environment.globals.update(functions or {})
    style, script = _joined(folders, parts.styles), _joined(folders, parts.scripts)
    return environment.get_template(template).render(
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704 - our own file
        style_hash=_hash(style),
        script_hash=_hash(script),
        media=parts.media,
        **context,
    )


def script_json(value: object) -> Markup:
    """JSON that can stand inside a script element: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - every character that HTML or JavaScript minds is escaped


def _joined(folders: tuple[Path, ...], names: tuple[str, ...]) -> str:
    text = "\n".join(_found(folders, name).read_text(encoding="utf-8") for name in names)
    assert "</script" not in text, "it would end the element that it stands in"
    assert "</style" not in text, "it would end the element that it stands in"
    return text


def _found(folders: tuple[Path, ...], name: str) -> Path:
    return next(path for folder in folders if (path := folder / name).is_file())


def _hash(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
