"""What a run needs, before anything is loaded: parameters, operations, days, and memory by part.

Arithmetic on a config, in milliseconds at any size. Counted are tensors: what the engine keeps
under its ZeRO stage, and what autograd keeps under the policy of recomputation, for the longest
window of the recipe. Not counted are the activations of a frozen codec, what an allocator wastes
and the workspace of kernels; a share of the memory is kept free for these. The trade-off: a run of
mostly shorter windows is quicker than is said here.
"""

import dataclasses
import math
from collections.abc import Mapping

from model import flops
from model.describe import activation_bytes_per_token, count_parameters, linear_layers
from model.lora import LoraSettings
from model.presets import DiTConfig
from training.config import TrainConfig
from training.network import NetworkConfig
from training.windows import Bucket

FLOAT32 = 4
_BUCKET_ELEMENTS = 500_000_000
"""Gradients that DeepSpeed reduces at once: `reduce_bucket_size` as it is by default."""
_LIVE_ELEMENTS = 1_000_000_000
"""Weights that ZeRO 3 may have gathered at once: `stage3_max_live_parameters` by default."""
_UMT5_PARAMETERS = 5_680_910_336
_WAN_VAE_PARAMETERS = 126_892_531
_DAY = 86_400


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """What a run is planned for; the defaults are a Hopper GPU.

    Attributes:
        ranks: GPUs.
        gpu_bytes: memory of each.
        peak_flops: operations a second of each, dense, in the run's precision.
        mfu: share of the peak that model operations reach.
        reserve: share of the memory to keep free.
    """

    ranks: int = 1
    gpu_bytes: int = 80 * 2**30
    peak_flops: float = 989e12
    mfu: float = 0.4
    reserve: float = 0.1

    def __post_init__(self) -> None:
        for name, least in (("ranks", 1), ("gpu_bytes", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}: give at least {least}")
        if not (math.isfinite(self.peak_flops) and self.peak_flops > 0):
            raise ValueError(f"peak_flops = {self.peak_flops}: give more than 0")
        if not 0 < self.mfu <= 1:
            raise ValueError(f"mfu = {self.mfu}: give a share above 0, up to 1")
        if not 0 <= self.reserve < 1:
            raise ValueError(f"reserve = {self.reserve}: give a share, 0 or more and below 1")


@dataclasses.dataclass(frozen=True, slots=True)
class Budget:
    """What a run needs; memory is in bytes.

    Attributes:
        parameters: of the network.
        trained: those that are trained.
        samples: of a step.
        tokens: of a step, if all its windows are the longest.
        model_flops: operations of a step, without what is computed twice.
        hardware_flops: with it.
        days: of the whole run at the machine's MFU, codec and text encoder left out.
        gpu: part -> bytes on each GPU.
        host: part -> bytes in main memory for each GPU, where states are offloaded.
        usable: bytes of a GPU that may be used.
    """

    parameters: int
    trained: int
    samples: int
    tokens: int
    model_flops: int
    hardware_flops: int
    days: float
    gpu: dict[str, int]
    host: dict[str, int]
    usable: int

    @property
    def fits(self) -> bool:
        """Whether all parts are within what may be used of a GPU."""
        return sum(self.gpu.values()) <= self.usable

    def lines(self) -> list[str]:
        """The budget in words, one fact a line."""
        gpu, host = sum(self.gpu.values()), sum(self.host.values())
        facts = {
            "parameters": f"{self.parameters:,}",
            "  trained": f"{self.trained:,}",
            "samples a step": f"{self.samples:,}",
            "tokens a step": f"{self.tokens:,}",
            "operations a step": f"{self.model_flops / 1e15:,.4g} PFLOPs",
            "  with recomputation": f"{self.hardware_flops / 1e15:,.4g} PFLOPs",
            "days": f"{self.days:,.3g}",
            "memory of each GPU": _gib(gpu),
            **{f"  {part}": _gib(size) for part, size in self.gpu.items() if size},
            "  may be used": _gib(self.usable),
            "  fits": "yes" if self.fits else f"NO: {_gib(gpu - self.usable)} too much",
            **({"main memory for each": _gib(host)} if host else {}),
            **{f"   {part}": _gib(size) for part, size in self.host.items() if size},
        }
        return [f"{name:<24}{value:>22}" for name, value in facts.items()]

    def document(self) -> dict[str, object]:
        """As JSON holds it."""
        return {**dataclasses.asdict(self), "fits": self.fits}


def budget(config: TrainConfig, machine: Machine) -> Budget:
    """What a run needs on a machine.

    Raises:
        ValueError: so many ranks cannot share the work.
    """
    network, batch = config.network, config.data.batch
    parallel = config.engine.context_parallel
    config.check_ranks(machine.ranks)
    parameters, _ = count_parameters(network.size)
    trained = parameters if network.lora is None else lora_parameters(network.size, network.lora)
    bucket = longest(config)
    side = config.data.windows.token_side
    samples = batch.samples_of(bucket.tokens(side))
    model, hardware = step_flops(config, bucket, samples)
    gpu, host = state_bytes(config, parameters, trained, machine.ranks)
    gpu["activations"] = math.ceil(
        max(
            activation_bytes(config, of_bucket, batch.samples_of(of_bucket.tokens(side)))
            for of_bucket in buckets(config)
        )
        / parallel
    )
    gpu |= frozen_bytes(config)
    seconds = config.steps * model / (machine.ranks * machine.peak_flops * machine.mfu)
    return Budget(
        parameters=parameters + (0 if network.lora is None else trained),
        trained=trained,
        samples=batch.microbatches * samples,
        tokens=batch.microbatches * samples * bucket.tokens(side),
        model_flops=model,
        hardware_flops=hardware,
        days=seconds / _DAY,
        gpu=gpu,
        host=host,
        usable=math.floor(machine.gpu_bytes * (1 - machine.reserve)),
    )


def remedy(config: TrainConfig, machine: Machine) -> tuple[str, ...] | None:
    """Changes of a config that does not fit by which it would, the cheapest first; None: none does.

    They add up: recompute blocks, shard weights too, move the optimiser's states to main memory.
    """
    blocks = dataclasses.replace(config.network, recompute="blocks", recompute_every=1)
    engine, changes = config.engine, ["network.recompute=blocks"]
    tried = [(tuple(changes), engine)]
    if config.network.lora is None:  # adapters are small, and ZeRO 3 does not go with them
        engine = dataclasses.replace(engine, zero=3)
        tried.append((tuple(changes := [*changes, "engine.zero=3"]), engine))
    if engine.zero:
        engine = dataclasses.replace(engine, offload="optimiser")
        tried.append(((*changes, "engine.offload=optimiser"), engine))
    for named, changed in tried:
        if budget(dataclasses.replace(config, network=blocks, engine=changed), machine).fits:
            return named
    return None


def buckets(config: TrainConfig) -> list[Bucket]:
    """All windows that the recipe may show."""
    windows = config.data.windows
    return [
        Bucket(width, height, frames)
        for width, height in windows.sizes
        for frames in windows.usable_lengths
    ]


def longest(config: TrainConfig) -> Bucket:
    """The window of the most tokens."""
    side = config.data.windows.token_side
    return max(buckets(config), key=lambda bucket: bucket.tokens(side))


def step_flops(config: TrainConfig, bucket: Bucket, samples: int) -> tuple[int, int]:
    """Operations of a step of micro-batches of `samples` windows: model's, and hardware's.

    A frozen weight has no gradient: with adapters, products with weights count twice and not three
    times. Recomputing all but products and attention repeats nothing that is counted.
    """
    size, count = config.network.size, config.data.batch.microbatches
    shape = (bucket.latents, bucket.height, bucket.width, config.text.length)
    model = flops.training(size, *shape, batch=samples)
    if config.network.lora is not None:
        tokens = bucket.tokens(config.data.windows.token_side)
        attention = 4 * size.num_layers * size.width * tokens * (tokens + config.text.length)
        model -= flops.exact(size, *shape, batch=samples) - samples * attention
    hardware = model
    if config.network.recompute == "blocks":
        again = flops.training(size, *shape, batch=samples, recompute=True)
        again -= flops.training(size, *shape, batch=samples)
        hardware += round(again * recomputed_blocks(config.network) / size.num_layers)
    return count * model, count * hardware


def state_bytes(
    config: TrainConfig, parameters: int, trained: int, ranks: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Weights, gradients, AdamW's moments and the average: on each GPU, and in main memory.

    ZeRO keeps float32 weights of its share in the optimiser, also of a float32 network, adds up
    its share of the gradients in float32, and holds them once more when it updates.
    """
    engine = config.engine
    element = 2 if engine.precision == "bfloat16" else FLOAT32
    if engine.zero == 0:
        whole = FLOAT32 * trained
        held = {"gradients": whole, "optimiser": 2 * whole, "ema": whole}
        return {"weights": FLOAT32 * parameters, **held}, {}
    share = math.ceil(trained / ranks)
    weights, gradients = element * parameters, FLOAT32 * trained
    reduced = element * min(trained, _BUCKET_ELEMENTS)
    if engine.zero >= 2:
        gradients = FLOAT32 * share + reduced
    if engine.zero == 3:
        weights = element * math.ceil(parameters / ranks)
    gathered = element * min(parameters, _LIVE_ELEMENTS) if engine.zero == 3 else 0
    sharded = {
        "float32 weights": FLOAT32 * share,
        "float32 gradients": FLOAT32 * share,
        "optimiser": 2 * FLOAT32 * share,
        "ema": FLOAT32 * share,
    }
    gpu = {"weights": weights, "gathered weights": gathered, "gradients": gradients}
    if engine.offload == "none":
        return gpu | sharded, {}
    if engine.offload == "all":
        return gpu | {"weights": 0}, {"weights": weights} | sharded
    return gpu, sharded


def activation_bytes(config: TrainConfig, bucket: Bucket, samples: int) -> int:
    """What autograd keeps of a micro-batch at the end of its forward, and at the worst moment.

    Of a recomputed block its input is kept, or also what products and attention gave; while it is
    gone back through, all of one block is there again.
    """
    network, size = config.network, config.network.size
    element = 2 if config.engine.precision == "bfloat16" else FLOAT32
    tokens = samples * bucket.tokens(config.data.windows.token_side)
    whole = block_bytes(size, element)
    kept = {
        "none": whole,
        "blocks": size.width * element,
        "selective": (10 * size.width + size.ffn_dim) * element
        + 2 * FLOAT32 * size.num_attention_heads,
    }[network.recompute]
    again = 0 if network.recompute == "none" else recomputed_blocks(network)
    blocks = again * kept + (size.num_layers - again) * whole + (whole if again else 0)
    return tokens * (blocks + outside_bytes(size, element))


def block_bytes(size: DiTConfig, element: int) -> int:
    """What autograd keeps of one block for one token; see `activation_bytes_per_token`."""
    extra = element - 2
    return activation_bytes_per_token(size) + extra * (10 * size.width + 2 * size.ffn_dim)


def outside_bytes(size: DiTConfig, element: int) -> int:
    """What is kept for one token before and after the blocks: rotary tables, last norm, output."""
    patch = math.prod(size.patch_size)
    exact = 2 * size.attention_head_dim + 2 * size.width + 2
    return FLOAT32 * exact + element * (size.width + size.out_channels * patch)


def recomputed_blocks(network: NetworkConfig) -> int:
    """Blocks that are recomputed."""
    if network.recompute == "none":
        return 0
    return math.ceil(network.size.num_layers / network.recompute_every)


def frozen_bytes(config: TrainConfig) -> Mapping[str, int]:
    """Weights of codec and text encoder, where they have any and a run loads them."""
    found = {}
    if config.codec.kind == "wan":
        found["autoencoder"] = FLOAT32 * _WAN_VAE_PARAMETERS
    if config.text.kind == "umt5" and config.precomputed.text != "require":
        element = 2 if config.engine.precision == "bfloat16" else FLOAT32
        found["text encoder"] = element * _UMT5_PARAMETERS
    return found


def lora_parameters(size: DiTConfig, lora: LoraSettings) -> int:
    """Parameters of the adapters: two matrices for each layer that gets one."""
    endings = tuple(f".{target}" for target in lora.targets)
    return sum(
        lora.rank * (inputs + outputs)
        for name, (inputs, outputs) in linear_layers(size).items()
        if f".{name}".endswith(endings)
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:,.2f} GiB"
