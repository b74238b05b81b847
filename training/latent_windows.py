"""From a sample to the latents of all windows that it can show: what `tempo precompute` stores.

Windows are decoded, scaled and encoded one by one, by the functions that training uses, so that
stored latents are those that it would have computed. The trade-off: windows that overlap are
decoded again, which costs little beside encoding them.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Self

import numpy as np
import torch
from torch import Tensor

from model.codec import LatentCodec
from model.conditioning import condition
from training.batches import as_video
from training.config import TrainConfig
from training.errors import DamagedSampleError
from training.examples import decode_window
from training.masks import fixed_mask
from training.samples import Samples, StoredSample
from training.side_shards import SideHead
from training.stored_latents import LATENTS, window_key
from training.windows import (
    LATENT_SIDE,
    Bucket,
    frame_indices,
    possible_starts,
    visits_of,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """A window of a sample."""

    rate: int
    start: int
    bucket: Bucket


def latents_head(manifest_sha256: str, config: TrainConfig, codec: LatentCodec) -> SideHead:
    """What identifies the latents of a version's windows by a codec."""
    settings = {
        "windows": dataclasses.asdict(config.data.windows),
        "conditions": sorted(config.precomputed.conditions),
    }
    return SideHead("latents", manifest_sha256, codec.fingerprint, settings)


class SampleWindows:
    """All windows that a run can show of the training side. Use it as a context manager.

    Make it with `SampleWindows.open`.
    """

    def __init__(self, samples: Samples, config: TrainConfig) -> None:
        windows = config.data.windows
        assert windows.starts is not None, "windows that begin anywhere are no list"
        self.samples = samples
        self._starts = windows.starts
        self._conditions = tuple(sorted(config.precomputed.conditions))
        self._channels = config.network.size.out_channels
        self._visits = visits_of(
            samples.frame_counts, samples.widths, samples.heights, windows
        ).of_samples()
        self.ids = {samples.sample_id(index): index for index in self._visits}
        """Of the samples that are shown, and their places."""

    @classmethod
    def open(cls, manifest: str, sha256: str | None, config: TrainConfig) -> Self:
        """Open the training side of a version.

        Raises:
            TrainingDataError: it is not whole, or none of its samples fits the windows.
        """
        return cls(Samples.open(manifest, "train", sha256), config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.samples.close()

    def of(self, sample_id: str) -> list[Window]:
        """A sample's windows: at each of its rates, from each place where one may begin."""
        index = self.ids[sample_id]
        count = int(self.samples.frame_counts[index])
        return [
            Window(rate, start, bucket)
            for rate, bucket in self._visits[index]
            for start in possible_starts(count, rate, bucket.frames, self._starts)
        ]

    def members(
        self,
        sample_ids: Iterable[str],
        codec: LatentCodec,
        device: torch.device,
        damaged: dict[str, str],
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Encode samples: each window as a member of a set.

        Args:
            sample_ids: of this side.
            codec: on its device.
            device: likewise.
            damaged: sample_id -> reason, of samples that cannot be read; filled.
        """
        for sample_id in sample_ids:
            try:
                stored = self.samples.read(self.ids[sample_id])
                made = [
                    (
                        window_key(sample_id, window.rate, window.start),
                        self._encoded(stored, window, codec, device),
                    )
                    for window in self.of(sample_id)
                ]
            except DamagedSampleError as error:
                damaged[error.sample_id] = error.reason
                continue
            yield from made

    def _encoded(
        self, stored: StoredSample, window: Window, codec: LatentCodec, device: torch.device
    ) -> dict[str, Tensor]:
        bucket = window.bucket
        pixels = np.empty((bucket.frames, bucket.height, bucket.width, 3), np.uint8)
        decode_window(stored, frame_indices(window.start, window.rate, bucket.frames), pixels)
        video = as_video(torch.from_numpy(pixels)[None].to(device))
        tensors = {LATENTS: codec.encode(video)}
        for kind in self._conditions:
            mask = torch.from_numpy(fixed_mask(kind, bucket.frames))[None].to(device)
            tensors[kind] = condition(video, mask, codec).latents
        return {name: found[0].float().cpu().contiguous() for name, found in tensors.items()}

    def bytes_of(self, sample_id: str) -> int:
        """What the tensors of all windows of a sample take."""
        positions = sum(window.bucket.tokens(LATENT_SIDE) for window in self.of(sample_id))
        kinds = 1 + len(self._conditions)
        return kinds * positions * self._channels * torch.float32.itemsize
