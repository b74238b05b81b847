"""Words of the commands that make a version again with another policy, for its report."""

import json
import os
import shlex
from typing import Any

from curation.catalog.store import Catalog
from curation.identities import canonical_json
from curation.records import SourceRow
from curation.report.drift import flat
from curation.report.tables import VersionTables
from pipelines.curate import CurateConfig
from pipelines.recipes.curation import RECIPES
from pipelines.settings import Home


def commands(catalog: Catalog, home: Home, version: VersionTables) -> dict[str, Any]:
    """Words of the commands that make a policy real, but for the thresholds themselves."""
    row = version.row
    at_home = ["--home", str(home.root)]
    curate = ["tempo", "curate", *_inputs(catalog, version), "--dataset", row.name]
    return {
        "curate": [shlex.join([*curate, "--recipe", row.recipe, *at_home])],
        "base": [shlex.join(["--set", change]) for change in _overrides(catalog, version)],
        "preview": [shlex.join(["tempo", "preview", "--dataset", version.reference, *at_home])],
    }


def _inputs(catalog: Catalog, version: VersionTables) -> list[str]:
    """What the version's run was given; where that was not recorded, the folder of its films."""
    runs = catalog.read("runs", {"run_id": version.row.run_id}, ["inputs"])["inputs"].to_pylist()
    if runs and runs[0]:
        recorded: list[str] = json.loads(runs[0])
        return recorded
    films = set(version.manifest["films"])
    uris = [source.uri for source in catalog.rows(SourceRow) if source.video_id in films]
    folders = [os.path.dirname(uri) for uri in uris]  # noqa: PTH120 - addresses too, not only paths
    return [os.path.commonpath(folders) if folders else "FILMS"]


def _overrides(catalog: Catalog, version: VersionTables) -> list[str]:
    """Settings of a version's run that its recipe does not have, thresholds left out."""
    recipe = recipe_named(version.row.recipe)
    runs = catalog.read("runs", {"run_id": version.row.run_id}, ["config"])["config"].to_pylist()
    if recipe is None or not runs:
        return []
    before = flat(json.loads(canonical_json(recipe)))
    return [
        f"{name}={value}"
        for name, value in flat(json.loads(runs[0])).items()
        if name in before
        and before[name] != value
        and (not name.startswith("select.") or name == "select.licences")
    ]


def recipe_named(name: str) -> CurateConfig | None:
    """What a recipe has before anything is overridden; None when there is none of that name."""
    return RECIPES[name]() if name in RECIPES else None
