"""What a size of the network costs, before anything is allocated: parameters, FLOPs, memory.

Parameters are counted on a network built on torch's meta device, so that they cannot drift from the
code. Memory is a model of what autograd keeps for the blocks with a fused attention; allocator
waste, attention workspace and communication buffers come on top.
"""

import dataclasses

import torch

from model import flops
from model.dit import MultiMaskDiT
from model.presets import DiTConfig


@dataclasses.dataclass(frozen=True, slots=True)
class Workload:
    """What is run through the network.

    Attributes:
        latents: latent frames.
        height: pixels.
        width: pixels.
        text_length: text tokens, padding included.
        batch: videos at once.
    """

    latents: int = 31
    height: int = 480
    width: int = 832
    text_length: int = flops.TEXT_TOKENS
    batch: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Description:
    """Cost of a config on a workload; bytes are for one process that holds everything.

    Attributes:
        parameters: all of them.
        float32_parameters: those that stay float32 in a bfloat16 network.
        tokens: in the sequence of one video.
        forward_flops: of one forward over the batch.
        training_flops: of one forward and backward over the batch, without recomputation.
        weight_bytes: in bfloat16, with upstream's float32 islands.
        training_state_bytes: float32 weights, gradients, AdamW's two moments and an average (EMA).
        activation_bytes: kept for the backward, in bfloat16.
        recomputed_activation_bytes: the same with gradient checkpointing: the inputs of all
            blocks, and one block's activations.
    """

    parameters: int
    float32_parameters: int
    tokens: int
    forward_flops: int
    training_flops: int
    weight_bytes: int
    training_state_bytes: int
    activation_bytes: int
    recomputed_activation_bytes: int

    def lines(self) -> list[str]:
        """The description in words, one fact a line."""
        gib = {
            "weights, bfloat16": self.weight_bytes,
            "training state": self.training_state_bytes,
            "activations": self.activation_bytes,
            "  with recomputation": self.recomputed_activation_bytes,
        }
        facts = {
            "parameters": f"{self.parameters:,}",
            "  float32 islands": f"{self.float32_parameters:,}",
            "tokens per video": f"{self.tokens:,}",
            "forward": f"{self.forward_flops / 1e12:,.3f} TFLOPs",
            "forward and backward": f"{self.training_flops / 1e12:,.3f} TFLOPs",
        } | {name: f"{size / 2**30:,.3f} GiB" for name, size in gib.items()}
        return [f"{name:<22}{value:>20}" for name, value in facts.items()]


def describe(config: DiTConfig, workload: Workload) -> Description:
    """Cost of `config` on `workload`; takes milliseconds and no memory at any size.

    Raises:
        ValueError: a size that the network's patches do not divide.
    """
    parameters, islands = count_parameters(config)
    run = dataclasses.astuple(workload)[:-1]
    count = flops.tokens(config, *run[:-1])
    in_flight = count * workload.batch
    block = in_flight * activation_bytes_per_token(config)
    return Description(
        parameters=parameters,
        float32_parameters=islands,
        tokens=count,
        forward_flops=flops.exact(config, *run, batch=workload.batch),
        training_flops=flops.training(config, *run, batch=workload.batch),
        weight_bytes=2 * parameters + 2 * islands,
        training_state_bytes=5 * 4 * parameters,
        activation_bytes=config.num_layers * block,
        recomputed_activation_bytes=config.num_layers * in_flight * 2 * config.width + block,
    )


def count_parameters(config: DiTConfig) -> tuple[int, int]:
    """All parameters, and those that upstream keeps in float32."""
    with torch.device("meta"):
        network = MultiMaskDiT.of(config)
    kept = set(network._keep_in_fp32_modules)
    total = islands = 0
    for name, parameter in network.named_parameters():
        total += parameter.numel()
        if kept.intersection(name.split(".")):
            islands += parameter.numel()
    return total, islands


def activation_bytes_per_token(config: DiTConfig) -> int:
    """What autograd keeps of one block for one token in bfloat16, with a fused attention.

    Counted with saved-tensor hooks: 12 float32 and 10 bfloat16 vectors of the width, two bfloat16
    vectors of the feed-forward; and in float32 nine scalars of norms, two of each head's softmax.
    """
    vectors = config.width * (12 * 4 + 10 * 2) + config.ffn_dim * 2 * 2
    return vectors + 9 * 4 + config.num_attention_heads * 2 * 4
