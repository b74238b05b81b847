"""Multi-mask conditioning (paper section 3.2): from given frames to what the network is fed.

One function serves text-to-video (nothing given), image-to-video, first and last frame,
continuation, and the anchors of a tree, for they differ only in their mask. The layout is Wan's:
four mask channels and the latents of a video in which frames that are not given are grey. The whole
sequence is encoded at once, also where almost all of it is grey: that is what Wan was trained on.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from model.codec import LatentCodec

MASK_CHANNELS = 4


class Conditioning(NamedTuple):
    """What is concatenated to the noisy latents, in this order.

    Attributes:
        mask: `[B,4,T,h,w]`, 1 where a frame is given.
        latents: `[B,C,T,h,w]` of the given frames between grey ones, normalised.
    """

    mask: Tensor
    latents: Tensor

    def channels(self) -> Tensor:
        """Both, `[B,4+C,T,h,w]`."""
        return torch.cat([self.mask, self.latents], dim=1)


def condition(given: Tensor, frame_mask: Tensor, codec: LatentCodec) -> Conditioning:
    """Make mask channels and condition latents.

    Args:
        given: `[B,3,G,H,W]` in [-1,1], frames at their places in the video. G may be less than F,
            even 0: frames from G on are not supplied. What the mask does not mark is not looked at.
        frame_mask: `[B,F]`, F = 4n+1, 1 or True = given; all zeros is text-to-video.
        codec: encodes the sequence.

    Raises:
        ValueError: a length that is not 4n+1, other values than 0 and 1 in the mask, a marked frame
            that was not supplied or is not in [-1,1].
    """
    mask = _checked_mask(given, frame_mask)
    batch, frames = mask.shape
    codec.geometry.latent_frames(frames)
    height, width = given.shape[-2:]
    rows, columns = codec.geometry.latent_size(height, width)
    shown = mask[:, : given.shape[2]]
    _check_supplied(given, mask, shown)
    video = given.new_zeros(batch, 3, frames, height, width, dtype=torch.float32)
    # Not a product: what is not marked may be anything, NaN too.
    video[:, :, : given.shape[2]] = torch.where(shown[:, None, :, None, None], given.float(), 0.0)
    latents = codec.encode(video)
    folded = fold_mask(mask).to(latents)
    return Conditioning(folded[..., None, None].expand(-1, -1, -1, rows, columns), latents)


def fold_mask(frame_mask: Tensor) -> Tensor:
    """Fold a mask over frames into latents: `[B,F]` to float32 `[B,4,T]`.

    Latent 0 holds frame 0, four times; latent k holds frames 4k-3 … 4k. A mask is never
    interpolated: which of the four frames is given is what the channels tell.

    Raises:
        ValueError: F is not 4n+1.
    """
    batch, frames = frame_mask.shape
    if frames % MASK_CHANNELS != 1:
        raise ValueError(f"frame_mask of {frames} frames: masks are 4n+1 long; pad or cut the clip")
    first = frame_mask[:, :1].expand(-1, MASK_CHANNELS)
    grouped = torch.cat([first, frame_mask[:, 1:]], dim=1).float()
    return grouped.reshape(batch, -1, MASK_CHANNELS).transpose(1, 2)


def mask_of(given: Iterable[int], frames: int) -> Tensor:
    """The frame mask `[1,F]` in which these frames are given.

    Raises:
        ValueError: a frame outside the clip.
    """
    mask = torch.zeros(1, frames, dtype=torch.bool)
    for frame in given:
        if not 0 <= frame < frames:
            raise ValueError(f"given={frame}: a clip of {frames} has frames 0 to {frames - 1}")
        mask[0, frame] = True
    return mask


def _checked_mask(given: Tensor, frame_mask: Tensor) -> Tensor:
    if given.ndim != 5 or given.shape[1] != 3:
        raise ValueError(f"given of shape {tuple(given.shape)}: give [B,3,G,H,W], colours RGB")
    if frame_mask.ndim != 2 or len(frame_mask) != len(given):
        raise ValueError(
            f"frame_mask of shape {tuple(frame_mask.shape)} for a batch of {len(given)}: give [B,F]"
        )
    if given.shape[2] > frame_mask.shape[1]:
        raise ValueError(
            f"given has {given.shape[2]} frames and the mask {frame_mask.shape[1]}: the mask is as "
            "long as the video; extend it"
        )
    mask = frame_mask.to(given.device)
    if mask.dtype != torch.bool:
        if not ((mask == 0) | (mask == 1)).all():
            raise ValueError(
                "frame_mask: only 0 (not given) and 1 (given) are allowed; never blend"
            )
        mask = mask == 1
    return mask


def _check_supplied(given: Tensor, mask: Tensor, shown: Tensor) -> None:
    missing = mask[:, given.shape[2] :].nonzero()
    if len(missing):
        sample, frame = missing[0].tolist()
        raise ValueError(
            f"frame_mask marks frame {frame + given.shape[2]} of sample {sample}, but only "
            f"{given.shape[2]} frames were supplied: supply it, or unmark it"
        )
    # The greatest magnitude of each frame; NaN stays NaN and fails the comparison.
    peak = given.abs().amax(dim=(1, 3, 4))
    wrong = (shown & ~(peak <= 1.0)).nonzero()
    if len(wrong):
        sample, frame = wrong[0].tolist()
        raise ValueError(
            f"given: frame {frame} of sample {sample} reaches {peak[sample, frame]:.4g}, outside "
            "[-1,1]: scale 8-bit pictures by x/127.5-1, and clamp after resampling"
        )
