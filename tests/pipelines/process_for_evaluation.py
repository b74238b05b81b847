"""An evaluation in a process of its own, for a test to kill.

``python -m tests.pipelines.process_for_evaluation HOME CHECKPOINT SUITE``
"""

import sys
from pathlib import Path

import torch

from evaluation.metrics.config import MetricsConfig
from pipelines.engine import Engine, SerialEngine
from pipelines.evaluate import Evaluated, evaluate
from pipelines.evaluate_config import EvaluateConfig, EvaluateRequest, Resources, Sampler
from pipelines.job import Silence
from pipelines.settings import Home

COARSE, FINE = "f(6,24)m(1,2)", "f(6,12,24)m(1,2,2)"
WIDTH, HEIGHT, FRAMES = 64, 48, 49
CONFIG = EvaluateConfig(
    recipe="tiny",
    schedules=(COARSE, FINE),
    frames=(FRAMES,),
    metrics=MetricsConfig(profile="proxy"),
    sampler=Sampler(width=WIDTH, height=HEIGHT, guidance=(2.0,), batch=4),
    resources=Resources(device="cpu", memory_gib=16.0, hours=1.0),
)


def run(
    home: Home,
    checkpoint: Path,
    suite: Path,
    config: EvaluateConfig = CONFIG,
    engine: Engine | None = None,
) -> Evaluated:
    """Evaluate, in this process unless an engine is named."""
    request = EvaluateRequest(config, checkpoint, str(suite))
    return evaluate(request, home, engine or SerialEngine(), Silence())


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Home(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
