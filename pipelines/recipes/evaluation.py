"""Recipes of evaluation: the paper's tables, its ablations, and one for laptops."""

import dataclasses

from evaluation.metrics.config import MetricsConfig
from pipelines.evaluate_config import EvaluateConfig, Resources, Sampler

DEFAULT_SCHEDULE = "f(6,12,24)m(1,2,4)"
"""The paper's own (section 3.4)."""
TABLE3_SCHEDULES = (
    "f(6,24)m(1,4)",
    "f(6,24)m(1,8)",
    DEFAULT_SCHEDULE,
    "f(6,12,24)m(1,4,8)",
    "f(6,12,24)m(1,8,8)",
)
LONG, SHORT = 500, 121
"""Frames of the paper's long and short videos, planned as 513 and 129 and trimmed."""
_SEEDS = (0, 1, 2, 3, 4)
"""VBench asks for five videos of each prompt."""
_GPU = Resources(threads=8, memory_gib=192.0, hours=12.0)


def evaluate_debug_cpu() -> EvaluateConfig:
    """For laptops and `train_debug_cpu`: its picture size, surrogate metrics without weights.

    In 65 frames every window of both schedules has 17, as in training, and metrics find two of
    their clips, so that there is something to drift.
    """
    return EvaluateConfig(
        recipe="evaluate_debug_cpu",
        schedules=("f(6,24)m(1,4)", DEFAULT_SCHEDULE),
        frames=(65,),
        metrics=MetricsConfig(profile="proxy"),
        sampler=Sampler(width=96, height=64, guidance=(1.0,), batch=4),
        resources=Resources(memory_gib=8.0, hours=1.0),
    )


def evaluate_table1() -> EvaluateConfig:
    """Table 1, the row "Ours": long and short videos of the default schedule.

    Judged by VBench-Long without ``--dev_flag``, with CLIP in fp16, as VBench runs it on a GPU.
    """
    return EvaluateConfig(
        recipe="evaluate_table1",
        schedules=(DEFAULT_SCHEDULE,),
        frames=(LONG, SHORT),
        seeds=_SEEDS,
        metrics=MetricsConfig(device="cuda", precision="fp16"),
        resources=_GPU,
    )


def evaluate_table3() -> EvaluateConfig:
    """Table 3: five schedules, long and short videos."""
    return dataclasses.replace(
        evaluate_table1(), recipe="evaluate_table3", schedules=TABLE3_SCHEDULES
    )


def evaluate_table4() -> EvaluateConfig:
    """Table 4: one of two checkpoints, trained with and without random t_start.

    They are of `train_stage2_a14b` and `train_stage2_a14b_fixed_start`. Run it for each, and hold
    one against the other with ``tempo report-eval RUN --against RUN``.
    """
    return dataclasses.replace(evaluate_table1(), recipe="evaluate_table4", frames=(LONG,))


def evaluate_steps() -> EvaluateConfig:
    """Steps per level: which level's can be spared, against the defaults 50, 40, 30."""
    return dataclasses.replace(
        evaluate_table1(),
        recipe="evaluate_steps",
        frames=(SHORT,),
        steps=("", "50,20,15", "50,10,5", "25,20,15", "25,40,30"),
    )


def evaluate_figure7() -> EvaluateConfig:
    """Figure 7: how far a video goes on, to 1921 frames; 480 are added a round."""
    return dataclasses.replace(
        evaluate_table1(),
        recipe="evaluate_figure7",
        frames=(481,),
        continued=(0, 480, 960, 1440),
        seeds=(0,),
    )


RECIPES = {
    recipe.__name__: recipe
    for recipe in (
        evaluate_debug_cpu,
        evaluate_table1,
        evaluate_table3,
        evaluate_table4,
        evaluate_steps,
        evaluate_figure7,
    )
}


def evaluation_recipe(name: str) -> EvaluateConfig:
    """The config that a recipe's name stands for.

    Raises:
        ValueError: naming the recipes there are.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]()
