"""One training example: a window of a sample, decoded, with everything that is drawn for it.

An example is a function of the seed, its place in the run (micro-batch and row) and the bytes of
the dataset: which worker makes it, and when, shows nowhere. Pictures stay 8-bit, a quarter of the
memory of what the network is fed; the trade-off is one conversion on the training device.
"""

import dataclasses
import itertools
import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from curation.captioning import tags
from curation.errors import DatasetError
from curation.video.packed import PackedVideo
from model.flow_matching import TimeSampling
from training.draws import Draws, Purpose
from training.errors import DamagedSampleError, TrainingDataError
from training.masks import FrameMask, MaskConfig, draw_mask
from training.plan import BatchPlan, MicroBatch
from training.samples import Samples, Shot, StoredSample
from training.stored_latents import StoredLatents, StoredWindow
from training.windows import (
    Visit,
    enlargement,
    frame_indices,
    possible_starts,
    temporal_positions,
)

U8 = npt.NDArray[np.uint8]

_AT_ONCE = 16
"""Frames that are decoded before they are resized: bounds what a worker holds of large samples."""
_REPLACEMENTS = 16


@dataclasses.dataclass(frozen=True, slots=True)
class ExampleConfig:
    """What is drawn for an example.

    Attributes:
        masks: which frames are given.
        times: at which t it is trained; one t for all its latents.
        max_start: T_max of Eq. 4 in temporal positions (a latent at 24 fps is 1); 0 for no offset.
        text_dropout: probability that the caption is empty, without which guidance is untrained.
        least_view: of the sides of the picture, how much a window shows at least; how much it is,
            and where, is drawn. 1 shows all of it, as the paper has it; less keeps a small library
            from being learnt by heart, and wants samples packed larger than the windows.
    """

    masks: MaskConfig = dataclasses.field(default_factory=MaskConfig)
    times: TimeSampling = dataclasses.field(default_factory=TimeSampling)
    max_start: float = 360.0
    text_dropout: float = 0.1
    least_view: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.max_start) and self.max_start >= 0):
            raise ValueError(f"examples.max_start = {self.max_start}: give 0 or more")
        if not 0 <= self.text_dropout <= 1:
            raise ValueError(f"examples.text_dropout = {self.text_dropout}: give 0 to 1")
        if not 0 < self.least_view <= 1:
            raise ValueError(
                f"examples.least_view = {self.least_view}: give more than 0, at most 1 (all)"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """The part of a picture that is shown.

    Attributes:
        share: of the sides of the largest part that has the right shape.
        across, down: where it lies, from 0 (left, top) to 1 (right, bottom).
    """

    share: float = 1.0
    across: float = 0.5
    down: float = 0.5


WHOLE = View()


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """All of an example but its pictures.

    Attributes:
        sample_id: of what is shown.
        start: first frame of the window, at 24 fps.
        rate: frames per second.
        mask: which frames are given.
        positions: `[T]` temporal positions, float64.
        caption: of the shots that the window shows; empty where it was dropped.
        time: t of flow matching.
        noise_seed: of the noise z_1.
        damaged: sample_id -> reason, of samples that should have stood here and could not.
        latents: z_0 `[C,T,h,w]`, where it was precomputed.
        condition: condition latents, likewise.
    """

    sample_id: str
    start: int
    rate: int
    mask: FrameMask
    positions: npt.NDArray[np.float64]
    caption: str
    time: float
    noise_seed: int
    damaged: dict[str, str]
    latents: Tensor | None = None
    condition: Tensor | None = None


class ExampleMaker:
    """Makes examples. Threads share it.

    Args:
        samples: of a version.
        plan: what stands where.
        config: what is drawn.
        starts: see `WindowConfig.starts`.
        latents: of all windows that the plan can show, where they were precomputed.
    """

    def __init__(
        self,
        samples: Samples,
        plan: BatchPlan,
        config: ExampleConfig,
        *,
        starts: int | None = None,
        latents: StoredLatents | None = None,
    ) -> None:
        self._samples = samples
        self._plan = plan
        self._config = config
        self._starts = starts
        self._latents = latents

    def make(self, batch: MicroBatch, row: int, pixels: U8) -> Example:
        """Make the example of a row.

        Args:
            batch: its micro-batch.
            row: its place there.
            pixels: `[F, H, W, 3]`, filled with the window's pictures (RGB).

        Raises:
            TrainingDataError: its sample is damaged, and so is all that could replace it; or a
                shard cannot be read.
        """
        damaged: dict[str, str] = {}
        candidates = itertools.chain([batch.visits[row]], self._plan.replacements(batch, row))
        for visit in itertools.islice(candidates, 1 + _REPLACEMENTS):
            try:
                return self._shown(visit, batch, row, pixels, damaged)
            except DamagedSampleError as error:
                damaged[error.sample_id] = error.reason
        named = "; ".join(f"{sample}: {reason}" for sample, reason in damaged.items())
        raise TrainingDataError(
            f"step {batch.step}: no sample of the bucket {batch.bucket} could be shown ({named}); "
            "copy their shards again, or curate a new version"
        )

    def _shown(
        self, visit: Visit, batch: MicroBatch, row: int, pixels: U8, damaged: dict[str, str]
    ) -> Example:
        config, seed, place = self._config, self._plan.seed, (batch.slot, row)
        frames, rate = batch.bucket.frames, visit.rate
        count = int(self._samples.frame_counts[visit.sample])
        starts = possible_starts(count, rate, frames, self._starts)
        start = starts[Draws(seed, Purpose.WINDOW, *place).below(len(starts))]
        indices = frame_indices(start, rate, frames)
        window = self._stored_window(visit, start)
        if window is None:
            stored = self._samples.read(visit.sample)
            view = drawn_view(config.least_view, Draws(seed, Purpose.VIEW, *place))
            decode_window(stored, indices, pixels, view)
            of_sample = stored.shots
        else:
            of_sample = self._samples.shots(visit.sample)
        shots = np.searchsorted([shot.end for shot in of_sample], indices, side="right")
        mask = draw_mask(config.masks, shots, Draws(seed, Purpose.MASK, *place))
        condition = None
        if window is not None:
            condition = window.condition_of(mask)
            self._decode_if_needed(visit, indices, pixels, mask, condition)
        offset = config.max_start * Draws(seed, Purpose.POSITION, *place).uniform()
        unspoken = Draws(seed, Purpose.TEXT, *place).uniform() < config.text_dropout
        return Example(
            sample_id=self._samples.sample_id(visit.sample),
            start=start,
            rate=rate,
            mask=mask,
            positions=temporal_positions(start, rate, frames, offset),
            caption="" if unspoken else caption_of(of_sample, shots),
            time=_time(config.times, Draws(seed, Purpose.TIME, *place)),
            noise_seed=Draws(seed, Purpose.NOISE, *place).word() >> 1,
            damaged=damaged,
            latents=None if window is None else window.latents,
            condition=condition,
        )

    def _stored_window(self, visit: Visit, start: int) -> StoredWindow | None:
        if self._latents is None:
            return None
        return self._latents.window(self._samples.sample_id(visit.sample), visit.rate, start)

    def _decode_if_needed(
        self,
        visit: Visit,
        indices: npt.NDArray[np.int64],
        pixels: U8,
        mask: FrameMask,
        condition: Tensor | None,
    ) -> None:
        """Of a window with z_0, pictures are needed only to encode what is given of it."""
        if condition is None and mask.given.any():
            decode_window(self._samples.read(visit.sample), indices, pixels)
        else:
            pixels.fill(0)


def caption_of(shots: tuple[Shot, ...], shown: npt.NDArray[np.intp]) -> str:
    """The caption of a window: of the shots that it shows, and of no other.

    Args:
        shots: of the sample.
        shown: `[F]` the number of the shot that each frame belongs to.
    """
    return tags.join([shots[number].caption for number in np.unique(shown)])


def _time(times: TimeSampling, draws: Draws) -> float:
    generator = torch.Generator().manual_seed(draws.word() >> 1)
    return float(times.sample(1, generator))


def drawn_view(least: float, draws: Draws) -> View:
    """Draw how much of the picture a window shows, and where; one view for all its frames."""
    if least == 1:
        return WHOLE
    return View(least + (1 - least) * draws.uniform(), draws.uniform(), draws.uniform())


def decode_window(
    stored: StoredSample, indices: npt.NDArray[np.int64], pixels: U8, view: View = WHOLE
) -> None:
    """Decode the frames of a window, each once, in order, and no others are converted.

    Args:
        stored: the sample.
        indices: `[F]` its frames.
        pixels: `[F, H, W, 3]`, filled.
        view: the part of the pictures that is shown.

    Raises:
        DamagedSampleError: the video does not decode.
    """
    try:
        video = PackedVideo(stored.mp4)
        for first in range(0, len(indices), _AT_ONCE):
            pictures = video.frames(indices[first : first + _AT_ONCE].tolist())
            fit(pictures, pixels[first : first + _AT_ONCE], view)
    except DatasetError as error:
        raise DamagedSampleError(stored.sample_id, str(error)) from error


def fit(pictures: U8, out: U8, view: View = WHOLE) -> None:
    """Scale a part of pictures to fill those of `out`: as much as has their shape, or less of it.

    Bilinear with its support widened when shrinking, so that nothing aliases: a third of the time
    of OpenCV's area average, which decoding would notice.

    Args:
        pictures: `[N, h, w, 3]`.
        out: `[N, H, W, 3]`, filled.
        view: the part; by default all that fits, centred.
    """
    height, width = out.shape[1:3]
    rows, columns = pictures.shape[1:3]
    kept_share = view.share / enlargement((columns, rows), (width, height))
    keep_rows = min(rows, max(1, round(height * kept_share)))
    keep_columns = min(columns, max(1, round(width * kept_share)))
    top = int((rows - keep_rows) * view.down)
    left = int((columns - keep_columns) * view.across)
    kept = pictures[:, top : top + keep_rows, left : left + keep_columns]
    if kept.shape != out.shape:
        # Channels stay last in memory: PyTorch has a fast path for 8-bit pictures like that.
        planes = torch.from_numpy(np.ascontiguousarray(kept)).movedim(-1, 1)
        scaled = interpolate(planes, (height, width), mode="bilinear", antialias=True)
        kept = scaled.movedim(1, -1).numpy()
    out[:] = kept
