"""Run commands as fresh processes and measure them: wall time, CPU time; peak memory of our own.

CPU time is what tells on a machine that others use too: wall time then depends on them. Runs are
interleaved, so that a slow minute hits every contestant, and medians are taken.
"""

import argparse
import dataclasses
import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

LOG = "command.log"


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What a command took."""

    wall: float
    cpu: float
    """User and system seconds, of the process and of the children that it waited for."""


def timed_command(command: list[str], folder: Path) -> Cost:
    """Run a command to its end; what it prints goes to `LOG` in the folder.

    Raises:
        RuntimeError: it failed; with its last words.
    """
    log = folder / LOG
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command}: exit code {process.returncode}\n{log.read_text()[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime)


def interleaved(
    contestants: Mapping[str, Callable[[], Cost]], runs: int
) -> dict[str, tuple[Cost, float]]:
    """Medians over rounds in which each runs once, and the spread of wall time.

    The spread is (slowest - quickest) / median.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for _ in range(runs):
        for name, run in contestants.items():
            costs[name].append(run())
    return {name: summary(taken) for name, taken in costs.items()}


def summary(costs: list[Cost]) -> tuple[Cost, float]:
    """Median wall and CPU time, and the spread of wall time."""
    walls = [cost.wall for cost in costs]
    median = Cost(statistics.median(walls), statistics.median(cost.cpu for cost in costs))
    return median, (max(walls) - min(walls)) / median.wall


def cpu_seconds() -> float:
    """User and system time of this process until now."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_bytes() -> int:
    """The most resident memory that this process has had; 0 where the system does not tell.

    Not getrusage's: what a child finds there is at least its parent's size when it was started.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    lines = status.read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def contest_options(document: str | None, seconds: float) -> argparse.ArgumentParser:
    """The options of a benchmark that runs contestants on the film made here, or on another."""
    parser = argparse.ArgumentParser(description=(document or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=seconds, help="length of the film")
    parser.add_argument("--runs", type=int, default=3, help="rounds, each contestant once in each")
    parser.add_argument("--film", type=Path, help="a film of yours instead of the one made here")
    return parser


def print_costs(costs: Mapping[str, tuple[Cost, float]], frames: int) -> None:
    """A table of what each contestant took for so many frames."""
    print(f"{'':30}{'wall s':>8}{'spread':>8}{'frames/s':>10}{'CPU s':>8}{'CPU ms/frame':>14}")
    for name, (cost, spread) in costs.items():
        print(
            f"{name:30}{cost.wall:8.2f}{spread:8.0%}{frames / cost.wall:10.1f}"
            f"{cost.cpu:8.2f}{1000 * cost.cpu / frames:14.2f}"
        )


def print_ratio(name: str, ours: Cost, peer_name: str, peer: Cost, target: float) -> None:
    """How quick we are beside a peer: above 1 we are quicker."""
    print(
        f"{name} / {peer_name}: {peer.wall / ours.wall:.2f} of its speed by wall, "
        f"{peer.cpu / ours.cpu:.2f} by CPU (aim {target:.2f})"
    )


def machine() -> str:
    """A line on the machine, and on how busy it is."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} x {model}, load averages {load}"
