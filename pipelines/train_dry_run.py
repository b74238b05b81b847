"""What a training run would need and would be shown, before anything is loaded or started.

The dataset is found first: of a name that is mistyped nothing else is worth knowing. Arithmetic and
the dataset's index are all it takes, so it costs seconds at any size; the trade-off is that no file
of weights is opened, so whether first weights are of this network, and whether precomputed
embeddings are by this very text encoder, only the run itself tells.
"""

import dataclasses
import json
from typing import Any

from curation.catalog.store import Catalog
from curation.records import SideShardsRow
from pipelines.settings import Home
from pipelines.train_begin import checkpoint_at
from training.budget import Budget, Machine, budget, remedy
from training.config import TrainConfig
from training.data import TrainingData
from training.errors import TrainingDataError
from training.versions import PublishedVersion, published_version

_ON_THE_FLY = "encoded on the fly"


@dataclasses.dataclass(frozen=True)
class DryRun:
    """What a run would need and would be shown.

    Attributes:
        dataset: ``NAME@3``.
        machine: which it is planned for; this one may be another.
        steps: of the whole run.
        budget: what it would need.
        remedy: changes by which it would fit, where it does not; None: none does, or none is due.
        shown: what it would be shown; None where nothing in the dataset can be.
        warnings: what may turn out badly.
        text: where embeddings of captions are assumed to come from; the encoder takes memory only
            where they are made on the fly.
    """

    dataset: str
    machine: Machine
    steps: int
    budget: Budget
    remedy: tuple[str, ...] | None
    shown: "Shown | None"
    warnings: list[str]
    text: str

    def lines(self) -> list[str]:
        """In words, one fact a line."""
        machine = self.machine
        each = f"{machine.peak_flops / 1e12:,.4g} TFLOPs at {machine.mfu:.0%}"
        memory = f"{machine.gpu_bytes / 2**30:,.4g} GiB"
        facts = {
            "dataset": self.dataset,
            "planned for": f"{machine.ranks} x GPU of {each}, {memory}",
            "steps": f"{self.steps:,}",
        }
        if self.shown is not None:
            facts |= self.shown.facts()
        facts["text embeddings"] = self.text
        return [f"{name:<24}{value:>22}" for name, value in facts.items()] + self.budget.lines()

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        plain = {k: v for k, v in dataclasses.asdict(self).items() if k != "budget"}
        return self.budget.document() | plain


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """What a run shows of a dataset.

    Attributes:
        samples: of the training side.
        left_out: reason -> samples that are never shown.
        epoch_steps: steps in which each sample is shown at each rate.
        epochs: in the whole run.
    """

    samples: int
    left_out: dict[str, int]
    epoch_steps: float
    epochs: float

    def facts(self) -> dict[str, str]:
        """In words."""
        return {
            "samples": f"{self.samples:,}",
            **{f"  {why}": f"{count:,}" for why, count in self.left_out.items() if count},
            "steps an epoch": f"{self.epoch_steps:,.4g}",
            "  (at every frame rate)": "",
            "epochs": f"{self.epochs:,.4g}",
        }


def dry_run(config: TrainConfig, dataset: str, home: Home, machine: Machine) -> DryRun:
    """Work out what a run would need.

    Raises:
        CurationError: no such dataset, or the catalog is unreachable.
        CheckpointError: no such checkpoint to begin from.
        ValueError: so many ranks cannot share the work.
    """
    with Catalog.open(home.catalog()) as catalog:
        version = published_version(catalog, dataset)
        text = _text(config, catalog, version)
    if text != _ON_THE_FLY:
        precomputed = dataclasses.replace(config.precomputed, text="require")
        config = dataclasses.replace(config, precomputed=precomputed)
    needed = budget(config, machine)
    shown, warnings = None, [*config.warnings(), *_first_weights(config, home)]
    try:
        shown = _shown(config, version)
    except TrainingDataError as error:
        warnings.append(f"{version.reference} cannot be trained from as it is: {error}")
    changes = None if needed.fits else remedy(config, machine)
    return DryRun(version.reference, machine, config.steps, needed, changes, shown, warnings, text)


def _text(config: TrainConfig, catalog: Catalog, version: PublishedVersion) -> str:
    """Where embeddings come from, told by the kind and length of the encoder: it is not loaded."""
    if config.precomputed.text == "require":
        return "precomputed (required)"
    wanted = {"kind": "text", "manifest_sha256": version.sha256}
    fits = config.precomputed.text == "auto" and any(
        row.fingerprint.startswith(config.text.kind)
        and json.loads(row.settings)["length"] == config.text.length
        for row in catalog.rows(SideShardsRow, wanted)
    )
    return "precomputed (assumed)" if fits else _ON_THE_FLY


def _shown(config: TrainConfig, version: PublishedVersion) -> Shown:
    with TrainingData.open(version.manifest, config.data, sha256=version.sha256) as data:
        epoch = data.plan.epoch_microbatches / config.data.batch.microbatches
        return Shown(len(data.samples), data.plan.left_out, epoch, config.steps / epoch)


def _first_weights(config: TrainConfig, home: Home) -> list[str]:
    """Look whether a checkpoint to begin from is there."""
    init = config.network.init
    if init.kind != "checkpoint":
        return []
    if init.source is None:
        return ["it begins from a checkpoint, and none is named yet: --from CHECKPOINT"]
    checkpoint_at(home, init.source)
    return []
