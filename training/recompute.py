"""What is computed again in the backward pass instead of being kept since the forward pass.

Keeping everything is fastest, and at 48,000 tokens of the 1.3B shape takes 190 GiB. Recomputing
whole blocks keeps their inputs alone and costs a third more operations. In between, "selective"
keeps what products of matrices and attention gave and recomputes the rest, which is element-wise:
a third of the memory for hardly any operations.
"""

import functools
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

if TYPE_CHECKING:
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

Recompute = Literal["none", "blocks", "selective"]

_KEPT = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
}
"""What costs more to compute again than to keep."""


def recompute(network: "WanTransformer3DModel", policy: Recompute, every: int = 1) -> None:
    """Set what a network recomputes.

    Args:
        network: ours, or diffusers' own.
        policy: nothing, whole blocks, or all of a block but products and attention.
        every: of the blocks, each n-th.
    """
    if policy == "none":
        return
    contexts: dict[str, Any] = {}
    if policy == "selective":
        contexts = {"context_fn": functools.partial(create_selective_checkpoint_contexts, _policy)}
    chosen = {id(block) for block in list(network.blocks)[::every]}

    def run(block: torch.nn.Module, *inputs: Tensor) -> object:
        if id(block) not in chosen:
            return block(*inputs)
        return checkpoint(block, *inputs, use_reentrant=False, **contexts)

    network.enable_gradient_checkpointing(run)


def _policy(_: object, operation: object, *__: object, **___: object) -> CheckpointPolicy:
    keep = operation in _KEPT
    return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE
