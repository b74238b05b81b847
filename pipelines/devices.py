"""What each of several processes beside each other takes of a machine: how many threads, which GPU.

Cores are shared out by count, unless the user says otherwise. Workers do not know each other, so
each takes the first GPU whose lock is free. A lock is the system's and ends with its process,
however that ends. Only workers of one home see each other.
"""

import dataclasses
import os
import platform
from pathlib import Path

import filelock


def threads_each(processes: int) -> int:
    """Threads for each of some processes that share this machine.

    The user's OMP_NUM_THREADS, as OpenMP reads it: of a list the first counts, and what is no
    number is passed over. Without it the machine's cores are shared out.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return max((os.cpu_count() or 1) // processes, 1)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A device, and the lock that is held as long as this object lives.

    Attributes:
        device: such as "cpu" or "cuda:1".
        lock: None where the device is shared.
    """

    device: str
    lock: filelock.FileLock | None = None


def claim_device(folder: Path, device: str) -> Claim:
    """Take a GPU where "cuda" is asked for without a number; anything else is given as it is.

    Args:
        folder: of the locks.
        device: "cpu", "cuda" or "cuda:N".

    Raises:
        ValueError: all GPUs are taken.
    """
    if device != "cuda":
        return Claim(device)
    import torch  # half a worker's start, and surrogates on a processor need none of it

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(torch.cuda.device_count()):
        # Its own name: where a scheduler shows each worker one GPU, each of them is number 0.
        name = torch.cuda.get_device_properties(number).uuid
        lock = filelock.FileLock(folder / f".{platform.node()}-cuda-{name}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            continue
        return Claim(f"cuda:{number}", lock)
    raise ValueError(
        f"device=cuda: all {torch.cuda.device_count()} GPUs are taken by other workers; ask for "
        "fewer workers"
    )
