"""An evaluation in a process of its own, for a test to kill.

``python -m tests.pipelines.process_for_evaluation HOME CHECKPOINT SUITE``
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from evaluation.metrics.config import MetricsConfig
from model import presets
from model.generator_folder import CodecSpec, GeneratorSpec, TextSpec, save_generator
from pipelines.engine import Engine, SerialEngine
from pipelines.evaluate import Evaluated, evaluate
from pipelines.evaluate_config import EvaluateConfig, EvaluateRequest, Resources, Sampler
from pipelines.job import Silence
from pipelines.settings import Home
from tests.model.tiny import tiny_network

COARSE, FINE = "f(6,24)m(1,2)", "f(6,12,24)m(1,2,2)"
WIDTH, HEIGHT, FRAMES, TEXT = 64, 48, 49, 8
WORDS = {"id": "words", "prompt": "words alone", "licence": "own"}
TIMES = {"seconds", "first_segment_seconds", "peak_bytes", "finished", "run_id"}
"""What two runs of the same evaluation need not have in common."""
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


def write_generator(folder: Path, seed: int = 0) -> Path:
    """A generator of random weights."""
    text = TextSpec("bytes", length=TEXT, width=presets.tiny().text_dim)
    save_generator(folder, tiny_network(seed=seed), GeneratorSpec(CodecSpec("dct"), text))
    return folder


def write_two_prompts(folder: Path) -> Path:
    """A suite: a picture with words, and words alone."""
    Image.new("RGB", (80, 60), (200, 40, 20)).save(folder / "red.png")
    red = {"id": "red", "prompt": "a red ball", "licence": "CC0-1.0", "image": "red.png"}
    path = folder / "two.jsonl"
    path.write_text("\n".join(map(json.dumps, (red, WORDS))))
    return path


def lasting(evaluated: Evaluated) -> Any:
    """`evaluation.json` without times, memory and the run's own name."""
    return _without(TIMES, json.loads(evaluated.numbers.read_text()))


def _without(names: set[str], value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without(names, inner) for name, inner in value.items() if name not in names}
    return [_without(names, inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Home(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
