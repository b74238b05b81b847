"""Everything that a training run is free to choose, but the dataset version and the machines.

A recipe is a function that returns one of these. Each part is checked beside the code it belongs
to; here stands what must fit together. Reading a config loads no weights and starts nothing.
"""

import dataclasses
import math

from model.generator_folder import CodecSpec, GeneratorSpec, TextSpec
from training.checkpoint import CheckpointConfig
from training.data import DataConfig
from training.ema import EmaConfig
from training.engine import EngineConfig
from training.journal import LogConfig
from training.network import NetworkConfig
from training.objective import PARENT_STRIDE, ObjectiveConfig
from training.optimiser import OptimiserConfig
from training.precomputed import PrecomputedConfig
from training.validation import ValidationConfig
from training.windows import LATENT_SIDE

_PAPER_LR_LIMIT = 1e-4
STAGES = ("stage_1", "stage_2")


@dataclasses.dataclass(frozen=True, slots=True)
class TrainConfig:
    """A run.

    Attributes:
        recipe: its name.
        stage: "stage_1" or "stage_2" of the paper's section 3.3.
        steps: after so many updates it is done.
        network: size, first weights, adapters.
        codec: makes the latents.
        text: embeds the captions.
        data: windows, masks, batches, and the seed of everything.
        objective: from a batch to its loss.
        optimiser: AdamW.
        ema: the average of the weights.
        engine: precision and sharding.
        precomputed: which of what `tempo precompute` makes is used.
        validation: on held-out films.
        checkpoint: when, and which are kept.
        log: what is written down.
    """

    recipe: str
    stage: str
    steps: int
    network: NetworkConfig
    codec: CodecSpec
    text: TextSpec
    data: DataConfig
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    optimiser: OptimiserConfig = dataclasses.field(default_factory=OptimiserConfig)
    ema: EmaConfig = dataclasses.field(default_factory=EmaConfig)
    engine: EngineConfig = dataclasses.field(default_factory=EngineConfig)
    precomputed: PrecomputedConfig = dataclasses.field(default_factory=PrecomputedConfig)
    validation: ValidationConfig = dataclasses.field(default_factory=ValidationConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    log: LogConfig = dataclasses.field(default_factory=LogConfig)

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage = {self.stage!r}: use {' or '.join(STAGES)}")
        if self.steps < 1:
            raise ValueError(f"steps = {self.steps}: give at least 1")
        size = self.network.size
        if self.text.kind == "bytes" and self.text.width != size.text_dim:
            raise ValueError(
                f"text.width = {self.text.width}: the network reads network.size.text_dim = "
                f"{size.text_dim}; make them equal"
            )
        rows, columns = size.patch_size[1:]
        if rows != columns or self.data.windows.token_side != LATENT_SIDE * rows:
            raise ValueError(
                f"data.windows.token_side = {self.data.windows.token_side}: a token is "
                f"{LATENT_SIDE} pixels times network.size.patch_size = {size.patch_size}; give "
                f"{LATENT_SIDE * rows} and a square patch"
            )
        self._check_combinations()
        self._check_precomputed()

    def _check_combinations(self) -> None:
        engine, network = self.engine, self.network
        if engine.context_parallel > 1 and network.compile:
            raise ValueError(
                "network.compile with engine.context_parallel > 1: diffusers splits tokens by "
                "hooks that graphs break at; use one of the two"
            )
        if network.lora is not None and engine.zero == 3:
            raise ValueError(
                "network.lora with engine.zero = 3: peft makes adapters of layers that are empty "
                "until they are gathered; adapters are small, so use engine.zero = 2"
            )

    def _check_precomputed(self) -> None:
        if self.precomputed.latents == "require" and self.data.windows.starts is None:
            raise ValueError(
                "precomputed.latents = require with data.windows.starts = none: windows that begin "
                "anywhere cannot be precomputed; set data.windows.starts, e.g. to 4"
            )
        anchors = set(self.precomputed.conditions) & PARENT_STRIDE.keys()
        if anchors and self.objective.anchor_round_trip > 0:
            raise ValueError(
                f"precomputed.conditions = {','.join(self.precomputed.conditions)} with "
                f"objective.anchor_round_trip = {self.objective.anchor_round_trip}: which anchors "
                f"make the round trip is drawn anew; leave out {', '.join(sorted(anchors))}"
            )

    @property
    def seed(self) -> int:
        """Of all that is drawn."""
        return self.data.seed

    @property
    def generator(self) -> GeneratorSpec:
        """What stands beside the network in a folder for generation."""
        return GeneratorSpec(self.codec, self.text, max(self.data.windows.usable_lengths))

    def check_ranks(self, ranks: int) -> None:
        """See that so many ranks can share the work.

        Raises:
            ValueError: they cannot; the message says what else could.
        """
        parallel, microbatches = self.engine.context_parallel, self.data.batch.microbatches
        if not self._shared_by(ranks, parallel):
            raise ValueError(
                f"ranks = {ranks}: with engine.context_parallel = {parallel} they must be a "
                f"multiple of it, and share data.batch.microbatches = {microbatches} evenly; "
                f"{self._other_sharing(ranks)}"
            )

    def _shared_by(self, ranks: int, parallel: int) -> bool:
        sharers, left = divmod(ranks, parallel)
        return not left and sharers > 0 and self.data.batch.microbatches % sharers == 0

    def _other_sharing(self, ranks: int) -> str:
        """What else could be done with so many ranks."""
        parallel, heads = self.engine.context_parallel, self.network.size.num_attention_heads
        counts = [count for count in range(1, ranks) if self._shared_by(count, parallel)]
        degrees = [
            degree
            for degree in range(1, ranks + 1)
            if heads % degree == 0 and self._shared_by(ranks, degree)
        ]
        remedies = [f"use {counts[-1]} ranks"] if counts else []
        if degrees:
            remedies.append(f"share each sample's tokens by engine.context_parallel={degrees[0]}")
        if ranks % parallel == 0:
            larger = math.lcm(self.data.batch.microbatches, ranks // parallel)
            remedies.append(f"make a step's batch larger by data.batch.microbatches={larger}")
        return ", or ".join(remedies) or f"give {parallel} ranks at least"

    def warnings(self) -> list[str]:
        """What may turn out badly, each with its remedy."""
        found = []
        if self.network.lora is None and self.network.init.kind != "random":
            lr = self.optimiser.lr
            if lr > _PAPER_LR_LIMIT:
                found.append(
                    f"optimiser.lr = {lr:g} is the paper's, and 25 to 50 times what others "
                    "fine-tune large video models with; where the loss rises, set "
                    "optimiser.lr=2e-5"
                )
        if self.steps < self.optimiser.warmup:
            found.append(
                f"the run ends (steps = {self.steps}) before optimiser.warmup = "
                f"{self.optimiser.warmup}: the learning rate never reaches optimiser.lr"
            )
        if self.checkpoint.every > self.steps:
            found.append(
                f"checkpoint.every = {self.checkpoint.every} is more than steps = {self.steps}: "
                "the only checkpoint is the last; what a kill costs is the whole run"
            )
        return found
