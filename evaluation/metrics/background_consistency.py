"""Background consistency: CLIP's features, which take in the whole scene.

`plain` is VBench-Long without ``--dev_flag``: CLIP ViT-B/32 (Radford et al. 2021) of every frame's
middle square, mean over clips. `dev` adds the long-range branch (``--dev_flag``): DreamSim's
features (Fu et al. 2023) of each clip's first frame, mapped, with weight 0.2. DreamSim comes as a
plugin: its package fetches its own networks. Sources: `vbench/background_consistency.py`,
`vbench2_beta_long/background_consistency.py`, `vbench2_beta_long/configs/slow_fast_params.yaml`.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from evaluation.metrics.arrays import F64, U8
from evaluation.metrics.consistency import Consistency, Features, LongRange
from evaluation.metrics.embedders import batches, features_of
from evaluation.metrics.pictures import for_clip, for_dreamsim

NAME = "background_consistency"
SIDE = 224
LONG_RANGE = LongRange(weight=0.2, table="background")

DreamSim = Callable[[Tensor], Tensor]
"""Pictures `[n,3,224,224]` of 0 to 1 to features `[n,D]`."""


def background_consistency(
    fingerprint: str,
    clip: nn.Module,
    dreamsim: DreamSim | None,
    device: str,
    batch: int,
    dtype: torch.dtype = torch.float32,
    side: int = SIDE,
) -> Consistency:
    """The metric of these networks.

    Args:
        fingerprint: of networks and profile.
        clip: compares frames within clips.
        dreamsim: compares first frames of clips, in the profile `dev`; None in `plain`.
        device: where they run.
        batch: pictures at once.
        dtype: of CLIP.
        side: of the pictures they see; 224 for the published networks.
    """
    between = None if dreamsim is None else _dreamsim_features(dreamsim, device, batch, side)
    return Consistency(
        NAME,
        fingerprint,
        features_of(clip, functools.partial(for_clip, side=side), device, batch, dtype),
        between,
        LONG_RANGE if between is not None else None,
    )


def _dreamsim_features(dreamsim: DreamSim, device: str, batch: int, side: int) -> Features:
    @torch.inference_mode()
    def features(frames: U8) -> F64:
        parts = [
            dreamsim(for_dreamsim(part, side)).float().cpu()
            for part in batches(frames, batch, torch.device(device))
        ]
        return torch.cat(parts).double().numpy()

    return features
