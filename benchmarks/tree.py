"""Tree generation against one window over everything, at growing lengths, with the same network.

For each length: wall time of the monolithic video and of each schedule (runs interleaved, medians),
their FLOPs, peak memory, and the speedup reached as a share of the one that FLOPs promise. Over all
lengths: the exponent with which time grows (a fit in logarithms). For the first schedule also the
time to the first finished segment, depth first against breadth first. Steps are few, and the same
everywhere: their number scales all contestants alike.

On a processor a small network and the DCT codec; on a GPU the 1.3B shape at 832x480 in bfloat16.
Under `torchrun` the windows of a level are spread over the ranks; the monolithic video is a single
window, so rank 0 makes it while the others wait. What is promised there is the longest chain: of
batches that run at the same time the largest. Peak memory is that of the rank that needed most.

    python -m benchmarks.tree --size 64x64 --rounds 1
    torchrun --nproc-per-node 8 -m benchmarks.tree
"""

import argparse
import dataclasses
import functools
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator

import torch
import torch.distributed as dist

from benchmarks.measure import machine
from model import flops, presets
from model.dct import DctCodec
from model.dit import MultiMaskDiT
from model.generation import Segment, TreeGenerator
from model.ranks import Ranks
from model.request import Request
from model.sampling import LevelSampling, Sampling
from model.schedule import Schedule
from model.text import ByteEncoder
from model.tree import Node, Plan, plan_tree
from model.work import Execution, Order, batches, rounds
from pipelines.memory import PeakMemory
from pipelines.worker import leave

SCHEDULES = ("f(6,12,24)m(1,2,4)", "f(6,24)m(1,8)")
MONOLITHIC = "f(24)m(1)"
PRESETS = {
    "shape_1_3b": presets.shape_1_3b,
    "debug": presets.debug,
    "tiny": presets.tiny,
}


@dataclasses.dataclass(frozen=True)
class Bench:
    """What is run, and where."""

    generator: TreeGenerator
    width: int
    height: int
    steps: int
    ranks: Ranks
    device: torch.device
    batch: int | None
    """Windows at once; None: what 4 GiB of activations hold, as `tempo generate` does by itself."""

    @property
    def alone(self) -> bool:
        """One process on a processor: then its CPU time is what counts, others' work apart."""
        return self.device.type == "cpu" and self.ranks.size == 1

    def cost(self, runs: "list[Run]") -> float:
        """Median seconds: of CPU time where that is what counts, else wall time."""
        return statistics.median(one.cpu if self.alone else one.wall for one in runs)

    def plan(self, schedule: str, frames: int) -> Plan:
        """The tree of a schedule, every level with the same steps."""
        levels = schedule.count(",") // 2 + 1
        parsed = Schedule.parse(schedule, steps=(self.steps,) * levels)
        return plan_tree(parsed, frames, window_cap=1 << 30)

    def operations(self, plan: Plan) -> tuple[int, int]:
        """FLOPs of what is run of a plan, without guidance: all, and those one after another."""
        size, text = self.generator.size, self.generator.text.length
        side = self.generator.token_side
        tokens = (self.height // side) * (self.width // side)
        itemsize = self.generator.network.dtype.itemsize
        formed = batches(plan, Execution(batch=self.batch), tokens, size, self.ranks.size, itemsize)
        window = functools.partial(
            flops.exact, size, height=self.height, width=self.width, text_length=text
        )
        return longest_chain(formed, 1, window), longest_chain(formed, self.ranks.size, window)

    def highest(self, peak: int) -> int:
        """The largest of all ranks' figures; all of them call this."""
        if self.ranks.group is None:
            return peak
        box = torch.tensor(peak)
        dist.all_reduce(box, dist.ReduceOp.MAX, group=self.ranks.group)
        return int(box)

    def segments(self, plan: Plan, order: Order) -> Iterator[Segment]:
        """The plan, executed."""
        request = Request(
            plan=plan,
            prompt="a train crosses a bridge",
            height=self.height,
            width=self.width,
            sampling=Sampling((LevelSampling(guidance=1.0),)),
        )
        execution = Execution(order, self.batch)
        return self.generator.generate(request, execution, ranks=self.ranks)


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One generation: wall and CPU seconds, those to the first segment of the kind that counts.

    Peak memory is in bytes, of the rank that needed most; 0 where it is not known.
    """

    wall: float
    cpu: float
    first: float
    peak: int


def run(bench: Bench, plan: Plan, order: Order = "breadth") -> Run:
    """Generate once."""
    peak = PeakMemory(bench.device.type)
    started, worked, first = time.perf_counter(), time.process_time(), math.nan
    for segment in bench.segments(plan, order):
        # Frames are on the CPU: whatever was queued for them is done.
        if math.isnan(first):
            first = time.process_time() - worked if bench.alone else time.perf_counter() - started
        del segment
    worked = time.process_time() - worked
    taken = time.perf_counter() - started
    return Run(taken, worked, first, bench.highest(peak.bytes() or 0))


def longest_chain(formed: list[tuple[Node, ...]], ranks: int, window: Callable[[int], int]) -> int:
    """FLOPs that this many ranks do one after another.

    Ranks exchange frames after each round of batches, so a round lasts as long as its largest.

    Args:
        formed: batches in the order that they are run.
        ranks: how many run at the same time.
        window: FLOPs of a step of a window of so many latent frames.
    """

    def operations(batch: tuple[Node, ...]) -> int:
        return sum(node.steps * window(node.latent_count) for node in batch)

    return sum(max(map(operations, together)) for together in rounds(formed, (), ranks))


def exponent(lengths: list[int], values: list[float]) -> float:
    """Slope of a straight line through the logarithms."""
    return statistics.linear_regression(
        [math.log(n) for n in lengths], [math.log(v) for v in values]
    ).slope


def compare(bench: Bench, lengths: list[int], repeats: int, longest: int) -> None:
    """Time all contestants at all lengths; print speedups and exponents."""
    names = (MONOLITHIC, *SCHEDULES)
    times: dict[str, dict[int, float]] = {name: {} for name in names}
    chains: dict[str, dict[int, int]] = {name: {} for name in names}
    run(bench, bench.plan(SCHEDULES[0], lengths[0]))  # warms caches and allocators
    for frames in lengths:
        plans = {name: bench.plan(name, frames) for name in names}
        runs: dict[str, list[Run]] = {name: [] for name in names}
        for _ in range(repeats):
            for name in names:
                if name != MONOLITHIC or frames <= longest:
                    runs[name].append(run(bench, plans[name]))
        say(bench, f"\n{frames} frames")
        for name in names:
            total, chains[name][frames] = bench.operations(plans[name])
            if runs[name]:
                times[name][frames] = bench.cost(runs[name])
            promised = chains[MONOLITHIC][frames] / chains[name][frames]
            line = (
                f"  {name:<20} {total / 1e12:11.4f} TFLOPs, "
                f"{chains[name][frames] / 1e12:11.4f} in a row (x {promised:5.2f})"
            )
            say(bench, line + _measured(bench, runs[name], runs[MONOLITHIC], promised))
    say(bench, "\ngrowth with length: time and FLOPs in a row ~ frames^k")
    for name in names:
        seen = sorted(times[name])
        if len(seen) > 1:
            timed = exponent(seen, [times[name][n] for n in seen])
            ideal = exponent(seen, [float(chains[name][n]) for n in seen])
            say(bench, f"  {name:<20} k = {timed:.2f} in time, {ideal:.2f} in FLOPs")


def _measured(bench: Bench, runs: list[Run], monolithic: list[Run], promised: float) -> str:
    if not runs:
        return "   not run (--longest)"
    wall = statistics.median(one.wall for one in runs)
    cpu = statistics.median(one.cpu for one in runs)
    peak = max(one.peak for one in runs) / 2**20
    line = f" {wall:9.2f} s, cpu {cpu:8.2f} s, peak {peak:8,.0f} MiB"
    if monolithic and runs is not monolithic:
        speedup = bench.cost(monolithic) / bench.cost(runs)
        line += f"   speedup {speedup:5.2f}, {speedup / promised:4.0%} of what FLOPs promise"
    return line


def time_to_first(bench: Bench, frames: int) -> None:
    """Depth first against breadth first, on the first schedule."""
    plan = bench.plan(SCHEDULES[0], frames)
    say(bench, f"\nfirst finished segment of {frames} frames, {SCHEDULES[0]}")
    taken: dict[Order, Run] = {"depth": run(bench, plan, "depth"), "breadth": run(bench, plan)}
    for order, one in taken.items():
        whole = bench.cost([one])
        say(
            bench,
            f"  {order + ' first':<14} after {one.first:8.2f} s of {whole:8.2f} s "
            f"({one.first / whole:4.0%}), peak {one.peak / 2**20:,.0f} MiB",
        )
    say(bench, f"  breadth / depth: {taken['breadth'].first / taken['depth'].first:.2f}")


def say(bench: Bench, line: str) -> None:
    """Print on one rank."""
    if bench.ranks.rank == 0:
        print(line, flush=True)


def made(arguments: argparse.Namespace) -> Bench:
    """The network and its surroundings, with random weights."""
    ranks = Ranks()
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
        ranks = Ranks.joined()
    device = torch.device(arguments.device)
    large = device.type == "cuda"
    if large:
        device = torch.device("cuda", ranks.rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    config = PRESETS[arguments.preset or ("shape_1_3b" if large else "debug")]()
    if arguments.layers:
        config = dataclasses.replace(config, num_layers=arguments.layers)
    torch.manual_seed(0)
    with device:
        network = MultiMaskDiT.of(config)
    if large:
        for name, parameter in network.named_parameters():
            if not set(network._keep_in_fp32_modules) & set(name.split(".")):
                parameter.data = parameter.data.bfloat16()
    width, _, height = (arguments.size or ("832x480" if large else "128x96")).partition("x")
    text = ByteEncoder(width=config.text_dim, length=512 if large else 16)
    generator = TreeGenerator(network, DctCodec(), text)
    size = int(width), int(height)
    return Bench(generator, *size, arguments.steps, ranks, device, arguments.batch)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--frames", type=int, nargs="+", default=[121, 241, 481, 961, 1921])
    parser.add_argument("--longest", type=int, default=1921, help="of the monolithic video")
    parser.add_argument("--preset", choices=PRESETS)
    parser.add_argument("--layers", type=int, help="of the network; default the preset's")
    parser.add_argument("--size", help="WIDTHxHEIGHT")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--batch", type=int, help="windows at once; default what memory allows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default=default)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    arguments = parse()
    bench = made(arguments)
    place = torch.cuda.get_device_name() if bench.device.type == "cuda" else machine()
    say(bench, f"{place}; torch {torch.__version__}, {torch.get_num_threads()} threads")
    say(
        bench,
        f"{bench.ranks.size} ranks, {bench.width}x{bench.height}, {bench.steps} steps a level, "
        f"no guidance, network of width {bench.generator.size.width} and "
        f"{bench.generator.size.num_layers} layers in {bench.generator.network.dtype}",
    )
    say(bench, f"speedups and growth are of {'CPU' if bench.alone else 'wall'} time, medians")
    compare(bench, sorted(arguments.frames), arguments.rounds, arguments.longest)
    time_to_first(bench, max(arguments.frames))
    if dist.is_initialized():
        leave()


if __name__ == "__main__":
    main()
