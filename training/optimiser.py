"""How weights move: AdamW's numbers, the learning rate of a step, and the optimiser with its EMA.

The average of the weights (EMA) is one more state of each parameter beside Adam's two. So whatever
shards, offloads, saves and restores the optimiser does the same to the average, to the last bit;
the trade-off is that the average lives where the optimiser's states live.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Literal, overload

import torch
from torch import Tensor

from training.ema import EmaConfig

STATES = ("exp_avg", "exp_avg_sq", "ema")
"""What is kept of each weight beside itself."""


@dataclasses.dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """AdamW and its learning rate. The defaults but for the rate are the paper's (appendix A).

    Attributes:
        lr: highest learning rate.
        betas: of AdamW; the paper names none.
        eps: of AdamW.
        weight_decay: of all weights.
        clip_norm: gradients are scaled down to this global norm; None: never.
        warmup: steps of linear growth to `lr`.
        schedule: what follows: `lr` for ever, or a cosine down to `final_share` of it.
        final_share: of "cosine".
        max_skipped: so many steps in a row without finite gradients stop the run.
    """

    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-4
    clip_norm: float | None = 1.0
    warmup: int = 2000
    schedule: Literal["constant", "cosine"] = "constant"
    final_share: float = 0.1
    max_skipped: int = 10

    def __post_init__(self) -> None:
        for name in ("lr", "eps"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"optimiser.{name} = {getattr(self, name)}: give more than 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optimiser.betas = {self.betas}: give 0 or more, below 1")
        if not self.weight_decay >= 0:
            raise ValueError(f"optimiser.weight_decay = {self.weight_decay}: give 0 or more")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(
                f"optimiser.clip_norm = {self.clip_norm}: give more than 0, or none not to clip"
            )
        if not 0 <= self.final_share <= 1:
            raise ValueError(f"optimiser.final_share = {self.final_share}: give a share, 0 to 1")
        for name, least in (("warmup", 0), ("max_skipped", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"optimiser.{name} = {getattr(self, name)}: give at least {least}")

    def lr_at(self, step: int, steps: int) -> float:
        """The learning rate of a step of a run; a function of the two, so nothing is resumed."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.schedule == "constant":
            return self.lr
        done = min(1.0, (step - self.warmup) / max(1, steps - self.warmup))
        falling = 0.5 * (1.0 + math.cos(math.pi * done))
        return self.lr * (self.final_share + (1.0 - self.final_share) * falling)


class AveragingAdamW(torch.optim.AdamW):
    """AdamW that keeps an average of the weights as a third state, `ema`.

    Args:
        parameters: to be trained.
        config: of AdamW.
        average: how the average follows.
    """

    def __init__(
        self, parameters: list[torch.nn.Parameter], config: OptimiserConfig, average: EmaConfig
    ) -> None:
        super().__init__(
            parameters,
            lr=config.lr,
            betas=config.betas,
            eps=config.eps,
            weight_decay=config.weight_decay,
        )
        self._average = average

    def prime(self, weight: Tensor, updates: int = 0) -> dict[str, Tensor]:
        """The states of a weight; those of one that was never updated are made.

        Args:
            weight: as the optimiser holds it: whole, or a rank's flat share of all.
            updates: that lie behind it, where states are made.
        """
        state: dict[str, Tensor] = self.state[weight]
        if not state:
            state["step"] = torch.tensor(float(updates))
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
            state["ema"] = weight.detach().clone()
        return state

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all weights that have a gradient, then their averages."""
        assert closure is None
        weights = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        states = [self.prime(weight) for weight in weights]
        super().step()
        if weights:
            share = 1.0 - self._average.decay_at(int(states[0]["step"]))
            torch._foreach_lerp_([state["ema"] for state in states], weights, share)
        return None
