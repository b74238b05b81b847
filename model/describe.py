"""What a size of the network costs, before anything is allocated: parameters, FLOPs, memory.

Parameters are added up layer by layer, without the network's own libraries, whose import takes ten
seconds; the price is that its layers are written down here again, and a test holds them against it.
Memory is a model of what autograd keeps for the blocks with a fused attention; allocator waste,
attention workspace and communication buffers come on top.
"""

import dataclasses
import math

from model import flops
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
    width, layers, patch = config.width, config.num_layers, math.prod(config.patch_size)
    linear = linear_layers(config)
    # Modulation of each block and of the output; the norm before a block's cross-attention.
    islands = layers * 6 * width + 2 * width
    islands += layers * 2 * width if config.cross_attn_norm else 0
    islands += sum(
        (inputs + 1) * outputs
        for name, (inputs, outputs) in linear.items()
        if ".time_embedder." in name
    )
    others = sum(
        (inputs + 1) * outputs
        for name, (inputs, outputs) in linear.items()
        if ".time_embedder." not in name
    )
    others += (config.in_channels * patch + 1) * width  # the patch embedding, a convolution
    others += layers * 4 * width  # norms of queries and keys, in both attentions
    return islands + others, islands


def linear_layers(config: DiTConfig) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each linear layer, by its name; all have biases."""
    width, patch = config.width, math.prod(config.patch_size)
    block = {
        f"attn{number}.{name}": (width, width)
        for number in (1, 2)
        for name in ("to_q", "to_k", "to_v", "to_out.0")
    } | {"ffn.net.0.proj": (width, config.ffn_dim), "ffn.net.2": (config.ffn_dim, width)}
    return {
        "condition_embedder.time_embedder.linear_1": (config.freq_dim, width),
        "condition_embedder.time_embedder.linear_2": (width, width),
        "condition_embedder.time_proj": (width, 6 * width),
        "condition_embedder.text_embedder.linear_1": (config.text_dim, width),
        "condition_embedder.text_embedder.linear_2": (width, width),
        **{
            f"blocks.{number}.{name}": sizes
            for number in range(config.num_layers)
            for name, sizes in block.items()
        },
        "proj_out": (width, config.out_channels * patch),
    }


def activation_bytes_per_token(config: DiTConfig) -> int:
    """What autograd keeps of one block for one token in bfloat16, with a fused attention.

    Counted with saved-tensor hooks: 12 float32 and 10 bfloat16 vectors of the width, two bfloat16
    vectors of the feed-forward; and in float32 nine scalars of norms, two of each head's softmax.
    """
    vectors = config.width * (12 * 4 + 10 * 2) + config.ffn_dim * 2 * 2
    return vectors + 9 * 4 + config.num_attention_heads * 2 * 4
