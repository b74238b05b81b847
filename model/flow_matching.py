"""Flow matching: what is learned, at which times, and how a video is integrated from noise.

Time t runs from 0 (clean) to 1 (noise): z_t = (1 - t) z_0 + t z_1, and the network learns the
velocity z_1 - z_0 (Eq. 3). Everything about time goes through one shift, applied once, in training
and in sampling alike.

Which solver is golden. The schedule is Wan's own, sigma_i = shift(1 - i/n) with sigma_n = 0, and
the network is told 1000 · sigma unrounded. Diffusers' schedulers as configured by default differ:
its UniPC spaces sigmas from 1 to 0.001 and floors the timesteps that the network is told, and its
Euler shifts the smallest sigma twice, so that at 50 steps and shift 3 their last steps start at
.060 and .009, against .058 here. Given the same sigmas, their steps are what ours are tested to
equal. `unipc` is the reference for pictures; `euler` needs more steps for the same accuracy, and is
the one to choose when something has to be reasoned about by hand.
"""

import dataclasses
import math
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

TIMESTEP_SCALE = 1000.0
"""What the network is told is this times t."""

SolverName = Literal["unipc", "euler"]


def shifted(times: Tensor, shift: float) -> Tensor:
    """Move times towards noise: s·t / (1 + (s - 1)·t), which adds log(s) to logit(t)."""
    # Written so that 0 and 1 stay exactly that for every shift.
    return shift * times / (shift * times + (1.0 - times))


@dataclasses.dataclass(frozen=True, slots=True)
class TimeSampling:
    """At which times the network is trained.

    The defaults are those of the paper's appendix A; `TimeSampling("uniform", shift=1.0)` is what
    its §3.3 says instead.

    Attributes:
        distribution: of u, before the shift.
        mean: of logit(u), for "logit-normal" (m of Eq. 7).
        std: of logit(u), for "logit-normal" (s of Eq. 7).
        shift: towards noise; see `shifted`.
    """

    distribution: Literal["logit-normal", "uniform"] = "logit-normal"
    mean: float = 0.0
    std: float = 1.0
    shift: float = 3.0

    def __post_init__(self) -> None:
        if self.distribution not in ("logit-normal", "uniform"):
            raise ValueError(f"distribution={self.distribution!r}: use 'logit-normal' or 'uniform'")
        if not math.isfinite(self.mean):
            raise ValueError(f"mean={self.mean}: must be finite")
        if not (math.isfinite(self.std) and self.std > 0):
            raise ValueError(f"std={self.std}: must be positive")
        _check_shift(self.shift)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `count` times in [0, 1], float32, on the generator's device."""
        device = generator.device
        if self.distribution == "uniform":
            drawn = torch.rand(count, generator=generator, device=device)
        else:
            normal = torch.randn(count, generator=generator, device=device)
            drawn = torch.sigmoid(self.mean + self.std * normal)
        return shifted(drawn, self.shift)


def interpolate(clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """z_t = (1 - t) z_0 + t z_1, with one time for all latents of a sample.

    Args:
        clean: z_0 `[B, ...]`.
        noise: z_1, of the same shape.
        times: `[B]`, float32; the result is float32 at least.
    """
    assert clean.shape == noise.shape and times.shape == clean.shape[:1]
    t = times.view(-1, *[1] * (clean.ndim - 1))
    return (1.0 - t) * clean + t * noise


def target_velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """What the network learns: z_1 - z_0."""
    return noise - clean


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: extrapolate from the unconditional velocity by `scale`.

    1 is no guidance, and then exactly the conditional velocity.
    """
    if scale == 1.0:
        return conditional
    return unconditional + scale * (conditional - unconditional)


def sigma_schedule(steps: int, shift: float) -> Tensor:
    """Times at which the solver stands: shift(1 - i/steps), from exactly 1 down to exactly 0.

    Returns:
        `[steps + 1]`, float64.

    Raises:
        ValueError: no steps, or a shift that is not positive.
    """
    if steps < 1:
        raise ValueError(f"steps={steps}: must be at least 1")
    _check_shift(shift)
    return shifted(torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64), shift)


class Solver(Protocol):
    """Integrates ONE trajectory (or batch of them) from noise at t = 1 to a video at t = 0.

    A solver may remember earlier steps, so each trajectory has its own, and steps are taken in
    order. No randomness: the same noise and velocities give the same latents.
    """

    @property
    def sigmas(self) -> Tensor:
        """Where the trajectory stands before each step, and at the end: `[steps + 1]`, float64."""
        ...

    @property
    def timesteps(self) -> Tensor:
        """What the network is told at each step: `[steps]`, float32."""
        ...

    def step(self, latents: Tensor, velocity: Tensor, index: int) -> Tensor:
        """Go from `sigmas[index]` to `sigmas[index + 1]`.

        Args:
            latents: `[B, C, T, h, w]` at `sigmas[index]`; keep them in float32 between steps.
            velocity: the network's prediction there.
            index: 0, 1, … in order.

        Returns:
            The new latents, computed in float32 and returned in the type of `latents`.

        Raises:
            ValueError: a step out of order.
        """
        ...


def make_solver(name: SolverName, steps: int, shift: float) -> Solver:
    """A fresh solver for one trajectory.

    Raises:
        ValueError: an unknown name, no steps, or a shift that is not positive.
    """
    match name:
        case "unipc":
            return _UniPC(steps, shift)
        case "euler":
            return _Euler(steps, shift)
    raise ValueError(f"solver {name!r} is unknown: choose one of {', '.join(get_args(SolverName))}")


class _Scheduled:
    """What all solvers share: the schedule, and the order of steps."""

    def __init__(self, steps: int, shift: float) -> None:
        self._sigmas = sigma_schedule(steps, shift)
        self._next = 0

    @property
    def sigmas(self) -> Tensor:
        return self._sigmas

    @property
    def timesteps(self) -> Tensor:
        return (TIMESTEP_SCALE * self._sigmas[:-1]).float()

    def _take(self, index: int) -> None:
        steps = len(self._sigmas) - 1
        if index != self._next or index >= steps:
            raise ValueError(
                f"step {index} was asked for where {self._next} of {steps} is due: "
                "take steps in order, and make a new solver for each trajectory"
            )
        self._next += 1


class _Euler(_Scheduled):
    """First order: follow the velocity as if it were constant over the step."""

    def step(self, latents: Tensor, velocity: Tensor, index: int) -> Tensor:
        self._take(index)
        stride = float(self._sigmas[index + 1] - self._sigmas[index])
        return (latents.float() + stride * velocity.float()).to(latents.dtype)


class _UniPC(_Scheduled):
    """Second order, predictor and corrector (UniPC, arXiv:2302.04867): diffusers' own steps.

    It stands at 1 - 1e-6 before its first step, since log((1 - sigma) / sigma) is infinite at 1.
    """

    def __init__(self, steps: int, shift: float) -> None:
        # Importing diffusers takes seconds: those who only draw times do not pay for it.
        from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

        super().__init__(steps, shift)
        self._scheduler = UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
        )
        # The scheduler shifts these itself, appends 0, and from then on counts its steps.
        self._scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.0, steps + 1)[:-1].copy())
        self._scheduler.set_begin_index(0)

    def step(self, latents: Tensor, velocity: Tensor, index: int) -> Tensor:
        self._take(index)
        timestep = self._scheduler.timesteps[index]
        moved: Tensor = self._scheduler.step(
            velocity.float(), timestep, latents.float(), return_dict=False
        )[0]
        return moved.to(latents.dtype)


def _check_shift(shift: float) -> None:
    if not (math.isfinite(shift) and shift > 0):
        raise ValueError(f"shift={shift}: must be positive; 1 is no shift, Wan uses 3 at 480p")
