"""Which GPU a worker works on, where several work beside each other.

Workers do not know each other, so each takes the first GPU whose lock is free. A lock is the
system's and ends with its process, however that ends. Only workers of one home see each other.
"""

import dataclasses
import platform
from pathlib import Path

import filelock


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
