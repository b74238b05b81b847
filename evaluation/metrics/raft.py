"""RAFT's optical flow (Teed and Deng 2020), by torchvision, as VBench asks for it."""

from pathlib import Path

import torch
from torch import nn
from torchvision.models.optical_flow import raft_large

from evaluation.errors import EvaluationError, MetricError
from evaluation.metrics.arrays import F32, U8
from evaluation.metrics.dynamic_degree import Flow
from evaluation.metrics.embedders import load_state
from evaluation.metrics.pictures import tensor_of

_UPDATES = 20
_STRIDE = 8
_LEAST_SIDE = 128


def raft_flow(network: nn.Module, device: str) -> Flow:
    """RAFT's flow, of pictures padded to whole cells of 8 pixels by repeating their edges.

    Args:
        network: torchvision's RAFT.
        device: where it runs.
    """
    network = network.eval().requires_grad_(False).to(device)

    @torch.inference_mode()
    def flow(first: U8, second: U8) -> F32:
        height, width = first.shape[1:3]
        if min(height, width) < _LEAST_SIDE:
            raise MetricError(
                f"{width}x{height}: RAFT compares pictures of at least {_LEAST_SIDE} pixels a side"
            )
        before, after = (
            _padded(tensor_of(frames, torch.device(device)) / 127.5 - 1.0)
            for frames in (first, second)
        )
        found = network(before, after, num_flow_updates=_UPDATES)[-1]
        # The padding stays in, as in VBench: the threshold and the 5 % are of the padded picture.
        flows: F32 = found.permute(0, 2, 3, 1).float().cpu().numpy()
        return flows

    return flow


def load_raft(weights: Path) -> nn.Module:
    """The RAFT of torchvision with the weights of a file.

    Raises:
        EvaluationError: the file holds others. The authors' own ``raft-things.pth`` names its
            tensors otherwise; torchvision publishes the same numbers as ``C_T_V1``.
    """
    network: nn.Module = raft_large(weights=None)
    try:
        network.load_state_dict(load_state(weights))
    except RuntimeError as error:
        raise EvaluationError(
            f"{weights} does not hold the weights of torchvision's raft_large: {error}"
        ) from error
    return network


def _padded(frames: torch.Tensor) -> torch.Tensor:
    height, width = frames.shape[-2:]
    wide, high = -width % _STRIDE, -height % _STRIDE
    sides = [wide // 2, wide - wide // 2, high // 2, high - high // 2]
    return nn.functional.pad(frames, sides, mode="replicate")
