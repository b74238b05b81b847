"""What an evaluation will make, checked before a GPU is used: suite, checkpoint, metrics, videos.

Its id is a hash of all that decides its numbers, the kind of device that makes its videos included,
so that the same question has the same answer's name on every machine of a kind. Everything is read,
hashed and decoded that can be; for a checkpoint of 14 billion weights that is a minute, and it
saves finding out after a night.
"""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from curation.catalog.store import Catalog
from curation.identities import canonical_json, digest
from curation.records import CheckpointRow
from evaluation.errors import MissingWeightsError
from evaluation.metrics.build import MetricPlan, plan_metrics
from evaluation.metrics.provenance import Provenance
from evaluation.suites import Suite
from evaluation.variants import labels
from model.errors import CheckpointError
from model.flops import PETA
from model.generator_folder import read_spec, warnings_of
from model.tree import plan_tree
from pipelines.evaluate_cells import Cell, cells_of, checkpoint_fingerprint, is_made, petaflops
from pipelines.evaluate_config import EvaluateConfig, EvaluateRequest
from pipelines.generate import network_of
from pipelines.settings import Home
from pipelines.suites import named_suite
from training.checkpoint_record import GENERATOR, check_generator


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An evaluation that is checked and planned.

    Attributes:
        id: of the evaluation: a hash of all that decides its numbers, after the recipe's name.
        config: with its device and dtype.
        checkpoint: folder of the generator.
        checkpoint_id: of the catalog's checkpoint, where it is one.
        fingerprint: of the generator's files.
        suite: what is shown.
        cells: every video.
        petaflops: of a video of each variant.
        metrics: what judges.
        provenance: of each metric, by name; taken now, for its files may be gone when all is made.
        warnings: what may turn out badly, each with its remedy.
    """

    id: str
    config: EvaluateConfig
    checkpoint: Path
    checkpoint_id: str | None
    fingerprint: str
    suite: Suite
    cells: tuple[Cell, ...]
    petaflops: tuple[float, ...]
    metrics: tuple[MetricPlan, ...]
    provenance: dict[str, Provenance]
    warnings: tuple[str, ...]

    def missing(self, home: Home) -> list[Cell]:
        """Cells that have no video yet."""
        return [cell for cell in self.cells if not is_made(home.generated / cell.key)]

    def document(self, home: Home, speed: float) -> dict[str, Any]:
        """The plan as JSON holds it.

        Args:
            home: whose videos are not missing.
            speed: operations of the network that a GPU does in a second.
        """
        hours = PETA / speed / 3600
        missing = Counter(cell.variant for cell in self.missing(home))
        per_variant = len(self.suite.prompts) * len(self.config.seeds)
        rows = [
            {"schedule": label, "videos": per_variant, "missing": missing[number],
             "petaflops": cost, "missing_petaflops": cost * missing[number],
             "missing_gpu_hours": cost * missing[number] * hours}
            for number, (label, cost) in enumerate(
                zip(labels(self.config.variants), self.petaflops, strict=True)
            )
        ]  # fmt: skip
        return {
            "evaluation": self.id,
            "checkpoint": str(self.checkpoint),
            "suite": self.suite.name,
            "prompts": len(self.suite.prompts),
            "metrics": [plan.name for plan in self.metrics],
            "variants": rows,
        }


def prepare(request: EvaluateRequest, home: Home, *, tolerant: bool = False) -> Prepared:
    """Check everything that can be checked before a GPU is used; nothing but a suite is written.

    Args:
        request: what is asked for.
        home: where it would be made.
        tolerant: weights of metrics that are missing are a warning, and no metric is planned.

    Raises:
        CheckpointError: the checkpoint cannot be one.
        EvaluationError: weights of a metric are missing.
        CurationError, TrainingError: the suite's dataset cannot be read.
        ValueError: the suite, a size or a schedule is refused.
    """
    checkpoint = _generator(request.checkpoint)
    network, text = network_of(checkpoint)
    config = _on_this_machine(request.config)
    row = _catalogued(home, request.checkpoint, checkpoint)
    suite = named_suite(request.suite or _trained_on(row, checkpoint), home)
    metrics, lacking = _metrics(config, home, tolerant=tolerant)
    fingerprint = checkpoint_fingerprint(checkpoint)
    cap = read_spec(checkpoint).longest_window
    plans = [plan_tree(v.tree, v.frames, window_cap=cap) for v in config.variants]
    warnings = [
        *lacking,
        *warnings_of(checkpoint),
        *(text for plan in plans for text in plan.warnings),
    ]
    cells = cells_of(config, suite.prompts, checkpoint, fingerprint)
    decisive = {
        "videos": [cell.key for cell in cells],  # all that decides their frames
        "checkpoint": fingerprint,
        "suite": suite.sha256,
        "variants": config.variants,
        "seeds": config.seeds,
        "sampler": config.sampler,
        "confidence": config.confidence,
        "metrics": [[plan.name, plan.fingerprint] for plan in metrics],
    }
    decisive["variants"] = [dataclasses.asdict(variant) for variant in config.variants]
    return Prepared(
        id=f"{config.recipe}-{digest('evaluation', canonical_json(decisive))[:12]}",
        config=config,
        checkpoint=checkpoint,
        checkpoint_id=row.checkpoint_id if row else None,
        fingerprint=fingerprint,
        suite=suite,
        cells=tuple(cells),
        petaflops=tuple(
            petaflops(variant, config.sampler, network, text) for variant in config.variants
        ),
        metrics=metrics,
        provenance={plan.name: plan.provenance() for plan in metrics},
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _on_this_machine(config: EvaluateConfig) -> EvaluateConfig:
    """The config with its device and dtype decided."""
    import torch

    device = config.resources.device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = config.sampler.dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    return dataclasses.replace(
        config,
        resources=dataclasses.replace(config.resources, device=device),
        sampler=dataclasses.replace(config.sampler, dtype=dtype),
    )


def _metrics(
    config: EvaluateConfig, home: Home, *, tolerant: bool
) -> tuple[tuple[MetricPlan, ...], list[str]]:
    """What judges, and what is said instead where weights are missing and that is tolerated."""
    try:
        return tuple(plan_metrics(config.metrics, home.weights)), []
    except MissingWeightsError as error:
        if not tolerant:
            raise
        return (), [f"no video could be judged: {error}"]


def _generator(checkpoint: Path) -> Path:
    """The generator's folder, seen to be sound: the checkpoint itself, or the one inside of it."""
    if not checkpoint.is_dir():
        raise CheckpointError(f"checkpoint {checkpoint}: there is no such folder")
    inside = checkpoint / GENERATOR
    folder = (inside if inside.is_dir() else checkpoint).absolute()
    check_generator(folder)
    return folder


def _catalogued(home: Home, *folders: Path) -> CheckpointRow | None:
    """The catalog's checkpoint that lies in one of these folders."""
    wanted = {folder.resolve() for folder in folders}
    with Catalog.open(home.catalog()) as catalog:
        rows = catalog.rows(CheckpointRow)
    for row in rows:
        places = {(home.root / uri).resolve() for uri in (row.uri, row.generator_uri) if uri}
        if places & wanted:
            return row
    return None


def _trained_on(row: CheckpointRow | None, checkpoint: Path) -> str:
    if row is None:
        raise ValueError(
            f"suite: name a manifest or a dataset (NAME@VERSION); the catalog does not know what "
            f"{checkpoint} was trained on"
        )
    return f"{row.dataset}@{row.version}"
