"""Imaging quality: MUSIQ's mark for distortions, a hundredth of its 0 to 100.

MUSIQ (Ke et al., ICCV 2021) trained on SPAQ, of every frame, brought down to a long side of 512
where it is larger (VBench's preprocessing mode ``longer``). Source: `vbench/imaging_quality.py`;
both profiles are the same. The network comes as a plugin: the implementation that VBench uses
(pyiqa) may not be used commercially.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from evaluation.errors import EvaluationError
from evaluation.metrics.arrays import F64, U8
from evaluation.metrics.average import FrameAverage
from evaluation.metrics.embedders import batches
from evaluation.metrics.pictures import for_musiq

NAME = "imaging_quality"
LONGEST = 512
_FULL_MARK = 100.0

Musiq = Callable[[Tensor], Tensor]
"""Pictures `[n,3,h,w]` of 0 to 1 to marks `[n]` of 0 to 100."""


def imaging_quality(fingerprint: str, musiq: Musiq, device: str, batch: int) -> FrameAverage:
    """The metric of this network.

    Args:
        fingerprint: of it.
        musiq: the plugin.
        device: where it runs.
        batch: pictures at once.
    """

    @torch.inference_mode()
    def judge(frames: U8) -> F64:
        marks = []
        for part in batches(frames, batch, torch.device(device)):
            found = musiq(for_musiq(part, LONGEST)).reshape(-1)
            if len(found) != len(part):
                raise EvaluationError(
                    f"the plugin gave {len(found)} marks for {len(part)} pictures"
                )
            marks.append(found)
        return torch.cat(marks).double().cpu().numpy() / _FULL_MARK

    return FrameAverage(NAME, fingerprint, judge)
