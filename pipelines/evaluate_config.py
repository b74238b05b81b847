"""What `tempo evaluate` is asked for: a recipe's config, a checkpoint, a suite.

Everything that decides a video stands in its key (`pipelines.evaluate_cells`); what only decides
how fast it is made (threads, ranks, limits) is kept apart in `Resources`.
"""

import dataclasses
import itertools
from pathlib import Path

from evaluation.metrics.config import MetricsConfig
from evaluation.statistics import LEVEL, RESAMPLES, SEED
from evaluation.variants import Variant, labels
from model.flow_matching import SolverName

_GIB = 1 << 30


@dataclasses.dataclass(frozen=True, slots=True)
class Sampler:
    """How every video of an evaluation is made.

    Attributes:
        width: pixels, a multiple of 16.
        height: pixels, a multiple of 16.
        guidance: of each level, or one for all; 1 is none.
        shift: of each level, or one for all.
        solver: see `model.flow_matching`.
        negative: what guidance leads away from.
        batch: windows at once; a number, so that the bits do not depend on the machine's memory.
        dtype: of the network; None: bfloat16 on a GPU, else float32.
    """

    width: int = 832
    height: int = 480
    guidance: tuple[float, ...] = (5.0,)
    shift: tuple[float, ...] = (3.0,)
    solver: SolverName = "unipc"
    negative: str = ""
    batch: int = 1
    dtype: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Resources:
    """What a worker may use; none of it changes a video beyond rounding.

    Attributes:
        device: "cpu" or "cuda"; None: a GPU if there is one. Several workers take a GPU each.
        ranks: processes that share one video, each with a GPU of its own where there are several;
            each loads the checkpoint for each video.
        threads: of a worker's numeric libraries.
        memory_gib: resident memory of a worker, the checkpoint included.
        hours: wall time of a video.
        offload: parts that rest wait in main memory.
        tiling: of the autoencoder.
    """

    device: str | None = None
    ranks: int = 1
    threads: int = 1
    memory_gib: float = 64.0
    hours: float = 12.0
    offload: bool = False
    tiling: bool = False

    @property
    def memory_bytes(self) -> int:
        """`memory_gib` in bytes."""
        return int(self.memory_gib * _GIB)


@dataclasses.dataclass(frozen=True, slots=True)
class Confidence:
    """Intervals of every mean: a bootstrap that draws prompts.

    Attributes:
        level: share of intervals that hold the truth.
        resamples: draws.
        seed: of the draws.
    """

    level: float = LEVEL
    resamples: int = RESAMPLES
    seed: int = SEED


@dataclasses.dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """Everything that an evaluation is free to choose.

    Each prompt is shown by each combination of schedule, frames, steps and continuation, once for
    each seed.

    Attributes:
        recipe: its name.
        schedules: in the paper's notation.
        frames: lengths at 24 fps.
        steps: of each level, such as "50,40,30"; "" is the schedule's defaults.
        continued: frames added by continuing.
        seeds: one video each.
        metrics: what judges.
        sampler: how videos are made.
        resources: what a worker may use.
        confidence: of the intervals.
    """

    recipe: str
    schedules: tuple[str, ...]
    frames: tuple[int, ...]
    steps: tuple[str, ...] = ("",)
    continued: tuple[int, ...] = (0,)
    seeds: tuple[int, ...] = (0,)
    metrics: MetricsConfig = dataclasses.field(default_factory=MetricsConfig)
    sampler: Sampler = dataclasses.field(default_factory=Sampler)
    resources: Resources = dataclasses.field(default_factory=Resources)
    confidence: Confidence = dataclasses.field(default_factory=Confidence)

    def __post_init__(self) -> None:
        for name in ("schedules", "frames", "steps", "continued", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name}={values}: give at least one, and each once")
        labels(self.variants)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Every combination, in the order of the fields; the first is what others are held to."""
        combined = itertools.product(self.frames, self.continued, self.schedules, self.steps)
        return tuple(
            Variant(schedule, frames, _steps(steps), continued)
            for frames, continued, schedule, steps in combined
        )


@dataclasses.dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """What a run is asked to do.

    Attributes:
        config: of a recipe.
        checkpoint: folder of a generator, or a training checkpoint that holds one.
        suite: a manifest, or ``NAME@VERSION`` of a dataset, whose validation side becomes one;
            None: of the dataset that the checkpoint was trained on, by the catalog.
    """

    config: EvaluateConfig
    checkpoint: Path
    suite: str | None = None


def _steps(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"steps={text!r}: write a number for each level, such as 50,40,30")
    return tuple(int(part) for part in parts)
