"""Forward, and forward with backward, of the network against diffusers' own on the same weights.

The two share their parameters, runs are interleaved and medians taken. Rates are tokens a second
and utilisation (MFU): model FLOPs over what a large matrix product reaches in the same run, or over
a datasheet's `--peak-tflops`. On a GPU: all layers, bfloat16, 31 latents at 832x480, recomputing
activations. On a processor: two layers in float32 at a small size. Sizes that nothing here can hold
are described instead (`--describe a14b`), with the time they would take at the rate just measured.

    python -m benchmarks.forward --preset shape_1_3b --describe a14b
"""

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable, Iterable

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from torch import Tensor, nn

from benchmarks.measure import Cost, interleaved, machine
from model import flops, presets
from model.describe import Description, Workload, describe
from model.dit import MultiMaskDiT

PRESETS = {
    "a14b": presets.a14b,
    "shape_1_3b": presets.shape_1_3b,
    "debug": presets.debug,
    "tiny": presets.tiny,
}
LEVEL_STRIDE = 4.0
"""Spacing of the positions that our network is given: those of 6 frames per second."""

Forward = Callable[[], Tensor]


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is run, and where."""

    config: presets.DiTConfig
    workload: Workload
    device: torch.device
    dtype: torch.dtype
    recompute: bool
    compiled: bool


def networks(setting: Setting) -> tuple[MultiMaskDiT, WanTransformer3DModel]:
    """Ours and diffusers', on the same parameters, with upstream's float32 islands."""
    with setting.device:
        ours = MultiMaskDiT.of(setting.config)
    for name, parameter in ours.named_parameters():
        if not set(ours._keep_in_fp32_modules) & set(name.split(".")):
            parameter.data = parameter.data.to(setting.dtype)
    with torch.device("meta"):
        stock = WanTransformer3DModel(**dataclasses.asdict(setting.config))
    stock.load_state_dict(ours.state_dict(keep_vars=True), assign=True)
    stock.rope = type(stock.rope)(
        setting.config.attention_head_dim,
        setting.config.patch_size,
        setting.config.rope_max_seq_len,
    ).to(setting.device)
    for network in (ours, stock):
        if setting.recompute:
            network.enable_gradient_checkpointing()
        if setting.compiled:
            network.compile_repeated_blocks(fullgraph=True)
    return ours, stock


def forwards(setting: Setting) -> dict[str, Forward]:
    """The contestants: ours with and without positions, and diffusers'."""
    ours, stock = networks(setting)
    work, config = setting.workload, setting.config
    draw = functools.partial(torch.randn, device=setting.device, dtype=setting.dtype)
    side = flops.VAE_STRIDE
    rows, columns = work.height // side, work.width // side
    arguments = {
        "hidden_states": draw(work.batch, config.in_channels, work.latents, rows, columns),
        "timestep": torch.full((work.batch,), 500.0, device=setting.device),
        "encoder_hidden_states": draw(work.batch, work.text_length, config.text_dim),
        "return_dict": False,
    }
    positions = LEVEL_STRIDE * torch.arange(work.latents, device=setting.device)
    spaced = {"temporal_positions": positions.expand(work.batch, -1)}

    def predict(network: nn.Module, extra: dict[str, Tensor]) -> Tensor:
        output: tuple[Tensor] = network(**arguments, **extra)
        return output[0]

    return {
        "ours, positions": functools.partial(predict, ours, spaced),
        "ours, none": functools.partial(predict, ours, {}),
        "stock diffusers": functools.partial(predict, stock, {}),
    }


def timed(run: Callable[[], object], device: torch.device) -> Cost:
    """One run to its end, a GPU's queue included."""
    _settle(device)
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    _settle(device)
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def without_gradients(forward: Forward) -> Callable[[], object]:
    """The forward as in sampling."""
    return torch.no_grad()(forward)


def with_backward(forward: Forward) -> Callable[[], object]:
    """The forward and a backward, gradients adding up in the shared parameters."""
    return lambda: torch.autograd.backward(forward().square().mean())


def matrix_rate(device: torch.device, dtype: torch.dtype, runs: int) -> float:
    """FLOPs a second of a large square matrix product: the best of `runs`."""
    side = 8192 if device.type == "cuda" else 1536
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    timed(lambda: left @ right, device)
    return 2 * side**3 / min(timed(lambda: left @ right, device).wall for _ in range(runs))


def report(
    title: str,
    runs: dict[str, Callable[[], object]],
    rounds: int,
    setting: Setting,
    operations: int,
    peak: float,
) -> float:
    """Run the contestants, print their rates, and return the utilisation of the first."""
    contestants = {
        name: functools.partial(timed, run, setting.device) for name, run in runs.items()
    }
    for run in contestants.values():
        run()  # compiles, fills caches, allocates
    costs = interleaved(contestants, rounds)
    work = setting.workload
    tokens = work.batch * flops.tokens(setting.config, work.latents, work.height, work.width)
    print(f"\n{title}: {operations / 1e12:.4f} TFLOPs, {tokens} tokens")
    for name, (cost, spread) in costs.items():
        print(
            f"  {name:<16} {cost.wall:9.4f} s (spread {spread:4.0%}) {tokens / cost.wall:11.1f} "
            f"tokens/s   MFU {operations / cost.wall / peak:6.1%}   cpu {cost.cpu:8.3f} s"
        )
    (first, _), (none, _), (stock, _) = costs.values()
    print(
        f"  wall, ours / stock: {first.wall / stock.wall:.3f} with positions, "
        f"{none.wall / stock.wall:.3f} without; "
        f"cpu: {first.cpu / stock.cpu:.3f}, {none.cpu / stock.cpu:.3f}"
    )
    return operations / first.wall / peak


def print_estimates(names: Iterable[str], utilisation: float, peak: float) -> None:
    """Describe the sizes that are not run, and their time at the utilisation measured."""
    for name in names:
        workload = Workload()
        description: Description = describe(PRESETS[name](), workload)
        seconds = description.training_flops / (utilisation * peak)
        print(f"\n{name}, {workload.latents} latents at {workload.width}x{workload.height}:")
        print("\n".join(f"  {line}" for line in description.lines()))
        print(f"  a forward and backward at the utilisation above: {seconds:.1f} s")


def settings_of(arguments: argparse.Namespace) -> Setting:
    """What was asked for, with defaults that fit the machine."""
    device = torch.device(arguments.device)
    large = device.type == "cuda"
    config = PRESETS[arguments.preset]()
    layers = arguments.layers or (config.num_layers if large else 2)
    default = Workload() if large else Workload(latents=3, height=128, width=128, text_length=64)
    given = {
        field.name: getattr(arguments, field.name)
        for field in dataclasses.fields(Workload)
        if getattr(arguments, field.name) is not None
    }
    return Setting(
        config=dataclasses.replace(config, num_layers=layers),
        workload=dataclasses.replace(default, **given),
        device=device,
        dtype=torch.bfloat16 if large else torch.float32,
        recompute=large if arguments.recompute is None else arguments.recompute,
        compiled=arguments.compile,
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--preset", choices=PRESETS, default="shape_1_3b")
    parser.add_argument("--describe", choices=PRESETS, nargs="*", default=["a14b"])
    parser.add_argument("--layers", type=int, help="fewer than the preset has")
    for field in dataclasses.fields(Workload):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int)
    parser.add_argument("--device", default=default)
    parser.add_argument("--recompute", action=argparse.BooleanOptionalAction)
    parser.add_argument("--compile", action="store_true", help="torch.compile the blocks")
    parser.add_argument("--peak-tflops", type=float, help="of the datasheet, for MFU")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def main() -> None:
    """Measure, print ratios, describe what does not fit."""
    arguments = parse()
    setting = settings_of(arguments)
    work = setting.workload
    place = torch.cuda.get_device_name() if setting.device.type == "cuda" else machine()
    print(f"{place}; torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(
        f"{arguments.preset}, {setting.config.num_layers} layers, {setting.dtype}, batch "
        f"{work.batch}, {work.latents} latents at {work.width}x{work.height}, text "
        f"{work.text_length}, recompute {setting.recompute}, compile {setting.compiled}"
    )
    measured = matrix_rate(setting.device, setting.dtype, arguments.rounds)
    peak = arguments.peak_tflops * 1e12 if arguments.peak_tflops else measured
    print(f"a large matrix product: {measured / 1e12:.3f} TFLOP/s; MFU is of {peak / 1e12:.3f}")

    runs = forwards(setting)
    size = (setting.config, work.latents, work.height, work.width, work.text_length)
    forward = {name: without_gradients(run) for name, run in runs.items()}
    operations = flops.exact(*size, batch=work.batch)
    report("forward", forward, arguments.rounds, setting, operations, peak)
    backward = {name: with_backward(run) for name, run in runs.items()}
    operations = flops.training(*size, batch=work.batch)
    title = "forward and backward"
    utilisation = report(title, backward, arguments.rounds, setting, operations, peak)
    print_estimates(arguments.describe, utilisation, peak)


if __name__ == "__main__":
    main()
