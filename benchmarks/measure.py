"""Run commands as fresh processes and measure them: wall time, CPU time and peak memory.

CPU time is what tells on a machine that others use too: wall time then depends on them. Runs are
interleaved, so that a slow minute hits every contestant, and medians are taken.
"""

import dataclasses
import os
import platform
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
    peak_bytes: int = 0


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
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


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
    """Median wall and CPU time, highest peak; and the spread of wall time."""
    walls = [cost.wall for cost in costs]
    median = Cost(
        statistics.median(walls),
        statistics.median(cost.cpu for cost in costs),
        max(cost.peak_bytes for cost in costs),
    )
    return median, (max(walls) - min(walls)) / median.wall


def machine() -> str:
    """A line on the machine, and on how busy it is."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{os.cpu_count()} x {model}, load averages {load}"
