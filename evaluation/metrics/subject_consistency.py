"""Subject consistency: DINO's features, which follow the thing in front.

`plain` is VBench-Long without ``--dev_flag``: DINO ViT-B/16 (Caron et al. 2021) of every frame,
whole pictures with a short side of 224, mean over clips. `dev` adds VBench-Long's long-range
branch (``--dev_flag``): DINOv2 ViT-B/14 (Oquab et al. 2023) of each clip's first frame, mapped,
with weight 0.3. Sources: `vbench/subject_consistency.py`, and of `vbench2_beta_long`
`subject_consistency.py` and `configs/slow_fast_params.yaml`.
"""

import functools

from torch import nn

from evaluation.metrics.consistency import Consistency, LongRange
from evaluation.metrics.embedders import features_of
from evaluation.metrics.pictures import for_dino, for_dinov2

NAME = "subject_consistency"
SIDE = 224
LONG_RANGE = LongRange(weight=0.3, table="subject")


def subject_consistency(
    fingerprint: str,
    dino: nn.Module,
    dinov2: nn.Module | None,
    device: str,
    batch: int,
    side: int = SIDE,
) -> Consistency:
    """The metric of these networks.

    Args:
        fingerprint: of networks and profile.
        dino: compares frames within clips.
        dinov2: compares first frames of clips, in the profile `dev`; None in `plain`.
        device: where they run.
        batch: pictures at once.
        side: of the pictures they see; 224 for the published networks.
    """
    between = None
    if dinov2 is not None:
        between = features_of(dinov2, functools.partial(for_dinov2, side=side), device, batch)
    return Consistency(
        NAME,
        fingerprint,
        features_of(dino, functools.partial(for_dino, side=side), device, batch),
        between,
        LONG_RANGE if between is not None else None,
    )
