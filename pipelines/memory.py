"""How much memory a piece of work takes at its worst moment.

On a GPU that is what torch allocated there, elsewhere the process' resident bytes, weights and
libraries included. Linux can start its own count of the peak anew, so nothing is sampled and no
short peak is missed; other systems cannot, and there nothing is claimed.
"""

from pathlib import Path

import torch

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"  # proc(5): the peak resident size becomes the current one


class PeakMemory:
    """Watches from its making on.

    Args:
        device: where the work is done, such as "cpu" or "cuda".
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._counts = True
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        try:
            _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        except OSError:
            self._counts = False

    def bytes(self) -> int | None:
        """The most since then; None where the system does not tell."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        if not self._counts:
            return None
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return None
