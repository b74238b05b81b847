"""Aesthetic quality: LAION's predictor of people's ratings, a tenth of its mark of 1 to 10.

CLIP ViT-L/14's features of every frame's middle square, at length 1, and LAION's linear head
(github.com/LAION-AI/aesthetic-predictor). Source: `vbench/aesthetic_quality.py`; both profiles are
the same. Curation scores clips by the same networks (`curation.scoring.laion`), from pictures
prepared by PIL with antialiasing: its marks and these differ a little, and neither stands for the
other.
"""

from pathlib import Path

import torch
from torch import nn

from evaluation.errors import EvaluationError
from evaluation.metrics.arrays import F64, U8
from evaluation.metrics.average import FrameAverage
from evaluation.metrics.embedders import batches, load_state
from evaluation.metrics.pictures import for_clip

NAME = "aesthetic_quality"
SIDE = 224
_FULL_MARK = 10.0


def aesthetic_quality(
    fingerprint: str,
    clip: nn.Module,
    head: nn.Linear,
    device: str,
    batch: int,
    dtype: torch.dtype = torch.float32,
    side: int = SIDE,
) -> FrameAverage:
    """The metric of these networks.

    Args:
        fingerprint: of both.
        clip: the backbone.
        head: the linear layer, always in float32.
        device: where they run.
        batch: pictures at once.
        dtype: of the backbone.
        side: of the pictures it sees; 224 for the published one.
    """
    clip = clip.eval().requires_grad_(False).to(device)
    head = head.eval().requires_grad_(False).to(device, torch.float32)

    @torch.inference_mode()
    def judge(frames: U8) -> F64:
        marks = [
            head(nn.functional.normalize(clip(for_clip(part, side).to(dtype)).float(), dim=-1))
            for part in batches(frames, batch, torch.device(device))
        ]
        return torch.cat(marks)[:, 0].double().cpu().numpy() / _FULL_MARK

    return FrameAverage(NAME, fingerprint, judge)


def load_head(path: Path) -> nn.Linear:
    """LAION's head.

    Raises:
        EvaluationError: the file does not hold a linear layer's weight and bias.
    """
    state = load_state(path)
    try:
        outputs, inputs = state["weight"].shape
        head = nn.Linear(inputs, outputs)
        head.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        raise EvaluationError(
            f"{path} does not hold a linear layer's weight and bias: {error}"
        ) from error
    return head
