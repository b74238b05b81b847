"""Training data, put together: from a dataset version's manifest to a loader at any step.

`windows` says what can be shown, `plan` when, `examples` how, `loader` ahead of time. The config is
complete: the same config and the same dataset version give the same run of batches, and what is
left out of a dataset is counted, never silent.
"""

import dataclasses
from pathlib import Path
from typing import Self

from training.examples import ExampleConfig, ExampleMaker
from training.loader import Loader, LoaderConfig
from training.masks import MaskConfig, MaskMixture
from training.plan import BatchConfig, BatchPlan
from training.samples import Samples
from training.stored_latents import StoredLatents
from training.windows import WindowConfig, visits_of

_MAX_SEED = 1 << 63


@dataclasses.dataclass(frozen=True, slots=True)
class DataConfig:
    """Everything about a run's data but the dataset version.

    Attributes:
        windows: which windows of which samples are shown.
        examples: what is drawn for each: mask, time, position, dropped captions.
        batch: what a step is made up of.
        loader: workers and prefetch; changes nothing in the batches.
        seed: another seed gives another run.
    """

    windows: WindowConfig = dataclasses.field(default_factory=WindowConfig)
    examples: ExampleConfig = dataclasses.field(default_factory=ExampleConfig)
    batch: BatchConfig = dataclasses.field(default_factory=BatchConfig)
    loader: LoaderConfig = dataclasses.field(default_factory=LoaderConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < _MAX_SEED:
            raise ValueError(f"data.seed = {self.seed}: give 0 or more, below 2^63")
        if self.windows.starts is not None and self.examples.least_view < 1:
            raise ValueError(
                f"data.windows.starts = {self.windows.starts} with data.examples.least_view = "
                f"{self.examples.least_view:g}: parts that are drawn make windows that no list "
                "holds; set starts = none, or least_view = 1"
            )


def stage_1() -> DataConfig:
    """Single-frame-rate training (section 3.3): 121 frames at 24 fps, 0 to 15 % of them given."""
    return DataConfig(
        windows=WindowConfig(rates=(24,), lengths=(121,), min_seconds=0.0, max_seconds=None),
        examples=ExampleConfig(max_start=0.0),
    )


def stage_2() -> DataConfig:
    """Multi-frame-rate training (section 3.3): 5 to 60 s at 6, 12 or 24 fps, positions by Eq. 4.

    The paper does not say which frames are given; this mixture has what generation asks for.
    """
    mixture = MaskMixture(
        random=0.25,
        every2=0.25,
        every4=0.15,
        first=0.15,
        first_last=0.05,
        prefix=0.1,
        none=0.05,
    )
    return DataConfig(examples=ExampleConfig(masks=MaskConfig(mixture=mixture)))


class TrainingData:
    """One side of a dataset version, ready to be loaded. Use it as a context manager.

    Make it with `TrainingData.open`.
    """

    def __init__(
        self, samples: Samples, config: DataConfig, latents: StoredLatents | None = None
    ) -> None:
        self.samples = samples
        self.config = config
        self._latents = latents
        visits = visits_of(samples.frame_counts, samples.widths, samples.heights, config.windows)
        self.plan = BatchPlan(visits, config.batch, config.windows.token_side, config.seed)

    @classmethod
    def open(
        cls,
        manifest: str | Path,
        config: DataConfig,
        *,
        split: str = "train",
        sha256: str | None = None,
        latents: StoredLatents | None = None,
    ) -> Self:
        """Open one side of a version.

        Args:
            manifest: path or address of its `manifest.json`.
            config: how it is shown.
            split: 'train' or 'val'.
            sha256: what the catalog says the manifest hashes to, where there is a catalog.
            latents: of all its windows, where they were precomputed; closed by who opened them.

        Raises:
            TrainingDataError: the version is not whole, or none of its samples fits the windows.
        """
        return cls(Samples.open(manifest, split, sha256), config, latents)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the shards."""
        self.samples.close()

    def loader(
        self, *, rank: int = 0, ranks: int = 1, start: int = 0, stop: int | None = None
    ) -> Loader:
        """A rank's micro-batches from a step on; see `Loader`."""
        maker = ExampleMaker(
            self.samples,
            self.plan,
            self.config.examples,
            starts=self.config.windows.starts,
            latents=self._latents,
        )
        return Loader(
            self.plan, maker, self.config.loader, rank=rank, ranks=ranks, start=start, stop=stop
        )
