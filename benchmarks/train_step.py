"""A training step of the network against the same step on diffusers' own: time, use, memory.

A step is what a rank does between two batches: forward, squared error against the velocity,
backward, clipping, AdamW on float32 weights, and their average. Each way of running is measured by
itself, one after the other, since only one fits a GPU. MFU counts the operations of the model, HFU
also those that recomputation repeats; both are of the datasheet's peak where it is given, else of a
large matrix product in the same run.

It needs torch, diffusers and this repository's files, no data and no DeepSpeed:

    python -m benchmarks.train_step --preset shape_1_3b --peak-tflops 989
    python -m benchmarks.train_step --preset debug --latents 5 --height 64 --width 96
"""

import argparse
import dataclasses
import functools
import gc
import statistics
from collections.abc import Callable, Iterator

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor, nn

from benchmarks.forward import PRESETS, matrix_rate, timed
from benchmarks.measure import machine
from model import flops
from model.describe import Workload
from model.dit import MultiMaskDiT
from model.presets import DiTConfig
from training.recompute import Recompute, recompute

_EMA_SHARE, _CLIP, _LR = 0.001, 1.0, 1e-4
_SPACING = 4.0
"""Of the positions: those of 6 frames per second."""


@dataclasses.dataclass(frozen=True, slots=True)
class Way:
    """One way of running a step.

    Attributes:
        ours: our network, or diffusers'.
        policy: what is recomputed.
        compiled: blocks go through `torch.compile`.
        attention: diffusers' name of an attention backend; None: its default.
    """

    ours: bool
    policy: Recompute
    compiled: bool
    attention: str | None = None

    def __str__(self) -> str:
        whose = "ours" if self.ours else "stock"
        compiled = ", compiled" if self.compiled else ""
        attention = f", {self.attention}" if self.attention else ""
        return f"{whose}, recompute {self.policy}{compiled}{attention}"


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What a step took: seconds (median), and peak bytes of the GPU (0 on a processor)."""

    seconds: float
    cpu: float
    peak_bytes: int


class Step:
    """A network with all that training keeps of it, and a step over made-up latents.

    Args:
        config: size of the network.
        work: what a step sees.
        way: how it runs.
        device: where.
        dtype: of weights and activations; below float32, float32 weights are kept beside them.
    """

    def __init__(
        self, config: DiTConfig, work: Workload, way: Way, device: torch.device, dtype: torch.dtype
    ) -> None:
        torch.manual_seed(0)
        with device:
            kind = MultiMaskDiT if way.ours else WanTransformer3DModel
            network = kind(**dataclasses.asdict(config))
        for parameter in network.parameters():
            parameter.data = parameter.data.to(dtype)
        if way.attention:
            network.set_attention_backend(way.attention)
        recompute(network, way.policy)
        if way.compiled:
            for block in network.blocks:
                block.forward = torch.compile(block.forward)
        self._network = network.train()
        self._weights = list(network.parameters())
        self._masters = (
            self._weights
            if dtype == torch.float32
            else [nn.Parameter(weight.detach().float()) for weight in self._weights]
        )
        self._average = [master.detach().clone() for master in self._masters]
        fused = device.type == "cuda"
        self._adam = torch.optim.AdamW(self._masters, lr=_LR, weight_decay=1e-4, fused=fused)
        self._inputs = _inputs(config, work, device, dtype, positions=way.ours)
        self._target = torch.randn_like(self._inputs["hidden_states"][:, : config.out_channels])

    def __call__(self) -> None:
        """Take a step."""
        predicted = self._network(**self._inputs, return_dict=False)[0]
        (predicted.float() - self._target.float()).square().mean().backward()
        norm = nn.utils.get_total_norm([weight.grad for weight in self._weights])
        nn.utils.clip_grads_with_norm_(self._weights, _CLIP, norm)
        if self._masters is not self._weights:
            for master, weight in zip(self._masters, self._weights, strict=True):
                master.grad, weight.grad = weight.grad.float(), None
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(self._average, self._masters, _EMA_SHARE)
            if self._masters is not self._weights:
                torch._foreach_copy_(self._weights, self._masters)


def _inputs(
    config: DiTConfig, work: Workload, device: torch.device, dtype: torch.dtype, *, positions: bool
) -> dict[str, Tensor]:
    draw = functools.partial(torch.randn, device=device, dtype=dtype)
    rows, columns = work.height // flops.VAE_STRIDE, work.width // flops.VAE_STRIDE
    made = {
        "hidden_states": draw(work.batch, config.in_channels, work.latents, rows, columns),
        "timestep": torch.full((work.batch,), 500.0, device=device),
        "encoder_hidden_states": draw(work.batch, work.text_length, config.text_dim),
    }
    if positions:
        at = _SPACING * torch.arange(work.latents, device=device)
        made["temporal_positions"] = at.expand(work.batch, -1)
    return made


def measured(make: Callable[[], Step], device: torch.device, rounds: int) -> Result:
    """Median of some steps, after two that compile, allocate and fill caches."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    step = make()
    for _ in range(2):
        step()
    costs = [timed(step, device) for _ in range(rounds)]
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else 0
    return Result(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        peak,
    )


def ways(arguments: argparse.Namespace) -> Iterator[Way]:
    """All that are compared; diffusers knows blocks only."""
    compiles = {"no": (False,), "yes": (True,), "both": (False, True)}[arguments.compile]
    for compiled in compiles:
        for policy in arguments.recompute:
            yield Way(True, policy, compiled, arguments.attention)
            if policy != "selective":
                yield Way(False, policy, compiled, arguments.attention)


def operations(config: DiTConfig, work: Workload, policy: Recompute) -> tuple[int, int]:
    """Of a step: the model's, and with those that are repeated."""
    size = (config, work.latents, work.height, work.width, work.text_length)
    model = flops.training(*size, batch=work.batch)
    if policy != "blocks":
        return model, model
    return model, flops.training(*size, batch=work.batch, recompute=True)


def main(arguments: argparse.Namespace) -> None:
    """Measure each way and print a line of it."""
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if on_gpu else torch.float32
    config = PRESETS[arguments.preset]()
    if arguments.layers:
        config = dataclasses.replace(config, num_layers=arguments.layers)
    if arguments.patch:
        config = dataclasses.replace(config, patch_size=(1, arguments.patch, arguments.patch))
    fields = (field.name for field in dataclasses.fields(Workload))
    work = Workload(**{name: getattr(arguments, name) for name in fields})
    rate = matrix_rate(device, dtype, arguments.rounds)
    peak = arguments.peak_tflops * 1e12 if arguments.peak_tflops else rate
    tokens = work.batch * flops.tokens(config, work.latents, work.height, work.width)
    print(torch.cuda.get_device_name() if on_gpu else machine(), f"torch {torch.__version__}")
    print(f"{arguments.preset}, {config.num_layers} layers, {dtype}, {tokens} tokens, {work}")
    print(f"a large matrix product: {rate / 1e12:.3f} TFLOP/s; shares are of {peak / 1e12:.3f}\n")
    print(f"{'':<44}{'step':>9}{'cpu':>9}{'tokens/s':>11}{'MFU':>7}{'HFU':>7}{'peak':>10}")
    for way in ways(arguments):
        make = functools.partial(Step, config, work, way, device, dtype)
        try:
            result = measured(make, device, arguments.rounds)
        except torch.OutOfMemoryError:
            print(f"{way!s:<44}out of memory")
            continue
        finally:
            gc.collect()
            torch.compiler.reset()
            if on_gpu:
                torch.cuda.empty_cache()
        counts = operations(config, work, way.policy)
        mfu, hfu = (count / result.seconds / peak for count in counts)
        print(
            f"{way!s:<44}{result.seconds:>7.3f} s{result.cpu:>7.2f} s"
            f"{tokens / result.seconds:>11.0f}{mfu:>7.1%}{hfu:>7.1%}"
            f"{result.peak_bytes / 2**30:>6.1f} GiB"
        )


def arguments_of() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--preset", choices=PRESETS, default="shape_1_3b")
    parser.add_argument("--layers", type=int, help="fewer than the preset has")
    parser.add_argument(
        "--patch", type=int, help="side of a token in latents; default the preset's"
    )
    for field in dataclasses.fields(Workload):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=field.default)
    parser.add_argument("--device", default=default)
    parser.add_argument(
        "--recompute",
        nargs="+",
        choices=("none", "blocks", "selective"),
        default=["blocks", "selective"],
    )
    parser.add_argument("--compile", choices=("no", "yes", "both"), default="both")
    parser.add_argument("--attention", help="backend of diffusers, e.g. _native_cudnn, _flash_3")
    parser.add_argument("--peak-tflops", type=float, help="of the datasheet")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main(arguments_of())
