"""Recipes of retraining: what is trained, how it is judged, and when it takes over."""

import dataclasses

from pipelines.recipes.evaluation import evaluate_debug_cpu, evaluate_table1
from pipelines.recipes.training import train_debug_cpu, train_stage2_a14b
from pipelines.retrain import RetrainConfig
from pipelines.retrain_decision import TOTAL, PromotionRule


def retrain_debug_cpu() -> RetrainConfig:
    """On a processor, judged by surrogates: they notice gross faults, so small losses pass."""
    return RetrainConfig(
        recipe="retrain_debug_cpu",
        train=train_debug_cpu(),
        evaluate=evaluate_debug_cpu(),
        rule=PromotionRule("proxy_imaging_quality", max_loss=5.0),
        min_new_hours=0.01,
    )


def retrain_production() -> RetrainConfig:
    """The paper's second stage on new films, judged by VBench-Long.

    A checkpoint takes over when its total rises by what a new seed alone would not give, and no
    dimension pays for it with more than a point.
    """
    train = train_stage2_a14b()
    return RetrainConfig(
        recipe="retrain_production",
        train=dataclasses.replace(
            train, checkpoint=dataclasses.replace(train.checkpoint, generator=True)
        ),
        evaluate=evaluate_table1(),
        rule=PromotionRule(TOTAL, min_gain=0.2, max_loss=1.0),
        min_new_hours=100.0,
    )


RECIPES = {recipe.__name__: recipe for recipe in (retrain_debug_cpu, retrain_production)}


def retraining_recipe(name: str) -> RetrainConfig:
    """The config that a recipe's name stands for.

    Raises:
        ValueError: naming the recipes there are.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]()
