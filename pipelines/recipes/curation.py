"""Recipes of curation."""

import dataclasses

from curation.selection import Range, SelectionPolicy
from curation.shards.planning import PackConfig
from curation.splits import SplitConfig
from pipelines.curate import CurateConfig


def curate_offline() -> CurateConfig:
    """Needs no weights and no network: for laptops, tests and first looks.

    Captions come from sidecars, else from the measurements. The short side may be as small as 240
    and shards are small, so that a few short films already give something to look at and two
    workers have something to share.
    """
    return CurateConfig(
        recipe="curate_offline",
        captioners=("sidecar", "describe"),
        select=SelectionPolicy(short_side=Range(min=240)),
        split=SplitConfig(val_share=0.15),
        pack=PackConfig(shard_bytes=16_000_000),
    )


def curate_production() -> CurateConfig:
    """For film libraries: the production policy, shards of 400 MB."""
    return CurateConfig(
        recipe="curate_production",
        captioners=("sidecar",),
        select=SelectionPolicy(),
        pack=PackConfig(shard_bytes=400_000_000),
    )


RECIPES = {recipe.__name__: recipe for recipe in (curate_offline, curate_production)}


def curation_recipe(name: str) -> CurateConfig:
    """The config that a recipe's name stands for.

    Raises:
        ValueError: naming the recipes there are.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return dataclasses.replace(RECIPES[name]())
