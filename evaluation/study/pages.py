"""Pages of a running study: Jinja templates, autoescaped; styles and scripts are files apart.

Nothing is loaded from elsewhere and nothing stands inline, so that the content security policy can
forbid both.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2

TEMPLATES = Path(__file__).parent / "templates"
STATIC: Final[Mapping[str, str]] = {
    "study.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "rate.js": "text/javascript; charset=utf-8",
    "player.js": "text/javascript; charset=utf-8",
    "scales.js": "text/javascript; charset=utf-8",
    "server.js": "text/javascript; charset=utf-8",
}
"""Files that anybody may have, and what they are."""


def page(template: str, **context: Any) -> str:  # noqa: ANN401 - what a template is given
    """A page as HTML."""
    return _environment().get_template(template).render(**context)


@functools.cache
def static(name: str) -> bytes:
    """A file of `STATIC`."""
    return (TEMPLATES / name).read_bytes()


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
