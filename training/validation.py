"""How well the network does on held-out films: the loss at fixed times, masks and noise.

Windows and noise are the same at every call, of any run over the same version, so that two figures
differ by their weights alone; training's own loss draws all of it anew and tells less. Windows are
decoded again each time rather than held in memory, which costs little beside a forward for every
mask and time.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Self, get_args

import numpy as np
import torch
from torch import Tensor, nn

from model.flow_matching import SolverName
from training.batches import Batch
from training.data import DataConfig, TrainingData
from training.draws import Draws, Purpose
from training.masks import MaskKind, mask_of
from training.objective import Inputs, Objective


@dataclasses.dataclass(frozen=True, slots=True)
class VideoSampling:
    """How the videos of a run are sampled, without guidance.

    Attributes:
        solver: see `model.flow_matching`.
        steps: of it, at the first level of the tree, between, and at the last, which most frames
            hold. A network that has learnt little shows more of its scene in few steps: each adds
            what the network left of the noise, and few stay near the mean.
    """

    solver: SolverName = "unipc"
    steps: tuple[int, int, int] = (20, 15, 10)

    def __post_init__(self) -> None:
        if min(self.steps) < 1:
            raise ValueError(f"validation.sampling.steps = {self.steps}: give at least 1 each")


@dataclasses.dataclass(frozen=True, slots=True)
class ValidationConfig:
    """What is measured on the held-out split.

    Attributes:
        every: steps of a run from one measurement to the next, and at its end; None: never, as for
            a version without a held-out side.
        windows: of held-out samples; few enough to be quick, enough to tell.
        times: t, each for all windows.
        masks: kinds, each for all windows; a window with a cut keeps its given frames here.
        seed: of windows and noise; its own, so that runs of other seeds can be compared.
        videos: after each n-th measurement and the last step, a video is made through the tree from
            a held-out film's first frame, by the averaged weights; None: never.
        sampling: of these videos.
    """

    every: int | None = 1000
    windows: int = 32
    times: tuple[float, ...] = (0.3, 0.5, 0.7, 0.9)
    masks: tuple[MaskKind, ...] = ("none", "first", "every4", "every2")
    seed: int = 0
    videos: int | None = None
    sampling: VideoSampling = dataclasses.field(default_factory=VideoSampling)

    def __post_init__(self) -> None:
        for name in ("every", "windows", "videos"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"validation.{name} = {value}: give at least 1")
        if not self.times or not all(0 < t <= 1 for t in self.times):
            raise ValueError(f"validation.times = {self.times}: give times above 0, up to 1")
        if not self.masks or set(self.masks) - set(get_args(MaskKind)):
            raise ValueError(
                f"validation.masks = {self.masks}: give some of {', '.join(get_args(MaskKind))}"
            )

    @property
    def names(self) -> list[str]:
        """What each figure is of, e.g. ``first/t0.5``: masks outside, times inside."""
        return [f"{mask}/t{t:g}" for mask in self.masks for t in self.times]


@dataclasses.dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out windows that are measured together.

    Attributes:
        batch: the windows.
        places: their numbers among all windows; fewer than the batch has where it goes beyond.
    """

    batch: Batch
    places: range


class Validation:
    """A rank's share of the held-out windows. Use it as a context manager.

    All ranks run the network equally often, as sharded weights need it: one that has no window left
    measures one for nothing.

    Args:
        manifest: path or address of the version's `manifest.json`.
        data: how the run shows the version; sizes, rates, lengths and batch size are taken from it.
        config: what is measured.
        objective: of the run.
        rank: whose share.
        ranks: how many share the windows.
        device: where the network is.

    Raises:
        TrainingDataError: the version has no held-out side, or none of it fits the windows.
    """

    def __init__(
        self,
        manifest: str,
        data: DataConfig,
        config: ValidationConfig,
        objective: Objective,
        *,
        rank: int = 0,
        ranks: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self._objective, self._masks, self._device = objective, data.examples.masks, device
        self._rank, self._ranks = rank, ranks
        shown = dataclasses.replace(
            data,
            examples=dataclasses.replace(data.examples, text_dropout=0.0, least_view=1.0),
            batch=dataclasses.replace(data.batch, microbatches=ranks),
            seed=config.seed,
        )
        self._data = TrainingData.open(manifest, shown, split="val")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the shards."""
        self._data.close()

    def held_out(self) -> Iterator[HeldOut]:
        """The rank's windows, on its device; the same at each call."""
        firsts = self._first_places()
        turns = math.ceil(len(firsts) / self._ranks)
        with self._data.loader(rank=self._rank, ranks=self._ranks, stop=turns) as loader:
            for batch in loader:
                first = firsts[batch.slot] if batch.slot < len(firsts) else self.config.windows
                end = min(first + len(batch), self.config.windows)
                yield HeldOut(batch.to(self._device), range(first, end))

    @torch.no_grad()
    def losses(self, network: nn.Module) -> Tensor:
        """The loss of every window under every mask at every time.

        Args:
            network: with the weights that are to be judged, such as their average; it is left in
                the mode that it came in.

        Returns:
            `[windows, masks · times]` in the order of `ValidationConfig.names`, on the CPU; zero
            where windows are another rank's, so that the sum over the ranks is whole.
        """
        found = torch.zeros(self.config.windows, len(self.config.names))
        training = network.training
        network.eval()
        try:
            for part in self.held_out():
                of_batch = self._losses_of(network, part.batch)
                found[part.places.start : part.places.stop] = of_batch[: len(part.places)]
        finally:
            network.train(training)
        return found

    def inputs(self, batch: Batch, kind: MaskKind) -> Inputs:
        """What the network is fed for windows under a kind of mask, at their own times."""
        draws = (Draws(seed, Purpose.MASK) for seed in batch.noise_seeds.tolist())
        given = [mask_of(kind, batch.bucket.frames, self._masks, of_window) for of_window in draws]
        masked = dataclasses.replace(
            batch,
            frame_mask=torch.from_numpy(np.stack(given)).to(batch.frame_mask.device),
            mask_kinds=(kind,) * len(batch),
        )
        return self._objective.prepare(masked)

    def _losses_of(self, network: nn.Module, batch: Batch) -> Tensor:
        columns = []
        for kind in self.config.masks:
            inputs = self.inputs(batch, kind)
            for t in self.config.times:
                at = dataclasses.replace(inputs, times=torch.full_like(inputs.times, t))
                columns.append(self._objective.loss(network, at).per_sample)
        return torch.stack(columns, dim=1).cpu()

    def _first_places(self) -> list[int]:
        """The place of the first window of each micro-batch, as many as hold the windows."""
        firsts: list[int] = []
        place = step = 0
        while place < self.config.windows:
            for micro in sorted(self._data.plan.step(step), key=lambda micro: micro.slot):
                if place < self.config.windows:
                    firsts.append(place)
                place += len(micro.visits)
            step += 1
        return firsts
