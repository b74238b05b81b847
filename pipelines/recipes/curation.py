"""Recipes of curation."""

import dataclasses

from curation.balance import BalanceConfig
from curation.captioning.asking import SHOT_PROMPT, AskConfig
from curation.duplicates import DuplicateConfig
from curation.multishot import MultiShotConfig
from curation.scoring.film import ScoreConfig
from curation.selection import Range, SelectionPolicy
from curation.shards.planning import PackConfig
from curation.splits import SplitConfig
from pipelines.curate import CurateConfig
from pipelines.steps.captioners import CaptionConfig


def curate_offline() -> CurateConfig:
    """Needs no weights and no network: for laptops, tests and first looks.

    Captions come from sidecars, else from the measurements. The short side may be as small as 240,
    up to half of the samples are multi-shot, and shards are small, so that a few short films
    already give something to look at and two workers have something to share.
    """
    return CurateConfig(
        recipe="curate_offline",
        captioners=("sidecar", "describe"),
        score=ScoreConfig(scorers=("technical",)),
        select=SelectionPolicy(short_side=Range(min=240), technical=Range(min=2.0)),
        duplicates=DuplicateConfig(look="hashes"),
        split=SplitConfig(val_share=0.15),
        multishot=MultiShotConfig(share=0.5),
        pack=PackConfig(shard_bytes=16_000_000),
    )


def curate_production() -> CurateConfig:
    """For film libraries: the production policy, shards of 400 MB.

    Captions come from sidecars, else from a vision-language model on this machine's GPU. Large
    libraries are captioned several times faster by a served one (captioners=sidecar,endpoint).
    """
    return CurateConfig(
        recipe="curate_production",
        captioners=("sidecar", "local"),
        caption=CaptionConfig(ask=AskConfig(prompt=SHOT_PROMPT)),
        score=ScoreConfig(scorers=("laion",)),
        select=SelectionPolicy(aesthetic=Range(min=4.5)),
        duplicates=DuplicateConfig(look="embedding"),
        balance=BalanceConfig(clusters=64),
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
