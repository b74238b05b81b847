"""Networks that this project does not ship: named by a setting, built by the user's own code.

The usual code of AMT-S, MUSIQ and DreamSim is either not for commercial use or fetches networks by
itself, so none of it is a dependency. A setting ``package.module:Class`` names a class instead,

    class Class:
        version = "1"
        def __init__(self, weights: Path | None, device: str) -> None: ...
        def __call__(self, *inputs): ...

whose objects do what the metric asks for (`Interpolator`, `Musiq`, `DreamSim`). Its ``version``
enters the metric's fingerprint: who changes a plugin's numbers changes it, and stored results are
made anew. Naming a plugin runs its code: name only what you trust.
"""

import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from evaluation.errors import EvaluationError


class PluginClass(Protocol):
    """What a setting names."""

    version: str

    def __call__(self, weights: Path | None, device: str) -> Callable[..., Any]:
        """Build the plugin."""


def find_plugin(setting: str, named: str) -> PluginClass:
    """Import the class that a setting names; nothing is built yet.

    Args:
        setting: which one names it.
        named: ``package.module:Class``.

    Raises:
        ValueError: the name has another form.
        EvaluationError: there is no such class, or it has no version.
    """
    check_name(setting, named)
    try:
        found = pkgutil.resolve_name(named)
    except (ImportError, AttributeError) as error:
        raise EvaluationError(
            f"{setting} = {named!r} cannot be imported: {error}; install its package, or put the "
            "folder of its file on PYTHONPATH"
        ) from error
    version = getattr(found, "version", None)
    if not callable(found) or not isinstance(version, str) or not version:
        raise EvaluationError(
            f"{setting} = {named!r} is no plugin: a class with a text 'version', built from "
            "(weights, device)"
        )
    return cast("PluginClass", found)


def build_plugin(setting: str, named: str, weights: Path | None, device: str) -> Callable[..., Any]:
    """Build the plugin that a setting names.

    Raises:
        EvaluationError: it is no plugin, or cannot be called.
    """
    plugin = find_plugin(setting, named)(weights, device)
    if not callable(plugin):
        raise EvaluationError(f"{setting} = {named!r}: what it builds cannot be called")
    return plugin


def check_name(setting: str, named: str) -> None:
    """Raise `ValueError` unless `named` is ``package.module:Class``."""
    module, colon, name = named.partition(":")
    parts = [*module.split("."), *name.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise ValueError(f"{setting} = {named!r}: name a plugin as package.module:Class")
