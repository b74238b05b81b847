"""Flow matching against diffusers' schedulers and sampling, and against closed forms."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import (
    FlowMatchEulerDiscreteScheduler,
)
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from diffusers.training_utils import compute_density_for_timestep_sampling
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.flow_matching import (
    Solver,
    TimeSampling,
    guided,
    interpolate,
    make_solver,
    shifted,
    sigma_schedule,
    target_velocity,
)

STEPS, SHIFT = 12, 3.0


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*(shape or (2, 4, 3, 2, 2)), generator=seeded(seed))


class TestInterpolation:
    def test_ends_are_clean_and_noise(self) -> None:
        clean, drawn = noise(seed=1), noise(seed=2)
        mixed = interpolate(clean, drawn, torch.tensor([0.0, 1.0]))
        assert torch.equal(mixed[0], clean[0])
        assert torch.equal(mixed[1], drawn[1])

    def test_the_target_is_its_derivative(self) -> None:
        clean, drawn = noise(seed=1).double(), noise(seed=2).double()
        times = torch.tensor([0.2, 0.7], dtype=torch.float64)
        slope = (interpolate(clean, drawn, times + 0.01) - interpolate(clean, drawn, times)) / 0.01
        assert torch.allclose(slope, target_velocity(clean, drawn))

    def test_a_step_back_along_the_target_is_clean(self) -> None:
        clean, drawn = noise(seed=1).double(), noise(seed=2).double()
        mixed = interpolate(clean, drawn, torch.tensor([0.9, 0.3], dtype=torch.float64))
        back = mixed - torch.tensor([0.9, 0.3])[:, None, None, None, None] * (drawn - clean)
        assert torch.allclose(back, clean, atol=1e-7)

    def test_bfloat16_latents_are_mixed_in_float32(self) -> None:
        clean = noise().bfloat16()
        assert interpolate(clean, clean, torch.rand(2)).dtype == torch.float32


class TestTimes:
    def test_logit_normal_is_diffusers_draw_shifted_once(self) -> None:
        ours = TimeSampling(shift=SHIFT).sample(1000, seeded())
        stock = compute_density_for_timestep_sampling(
            "logit_normal", 1000, logit_mean=0.0, logit_std=1.0, generator=seeded()
        )
        assert torch.allclose(ours, 3 * stock / (1 + 2 * stock), atol=1e-6)

    def test_shift_moves_the_logits_mean_and_nothing_else(self) -> None:
        logits = torch.logit(TimeSampling().sample(200_000, seeded()).double())
        assert logits.mean().item() == pytest.approx(math.log(3), abs=0.01)
        assert logits.std().item() == pytest.approx(1.0, abs=0.01)

    def test_uniform_is_uniform(self) -> None:
        times = TimeSampling("uniform", shift=1.0).sample(200_000, seeded())
        shares = torch.histc(times, 10, 0, 1) / len(times)
        assert torch.allclose(shares, torch.full((10,), 0.1), atol=0.005)

    def test_uniform_shifts_too(self) -> None:
        plain, moved = (
            TimeSampling("uniform", shift=shift).sample(100, seeded()) for shift in (1.0, 3.0)
        )
        assert torch.allclose(moved, 3 * plain / (1 + 2 * plain))

    @pytest.mark.parametrize("distribution", ["logit-normal", "uniform"])
    def test_the_generator_decides(self, distribution: str) -> None:
        sampling = TimeSampling(distribution)
        once, again, other = (sampling.sample(64, seeded(seed)) for seed in (5, 5, 6))
        assert torch.equal(once, again)
        assert not torch.equal(once, other)
        assert once.dtype == torch.float32
        assert once.min() >= 0
        assert once.max() <= 1

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("distribution", "cosine"),
            ("mean", math.nan),
            ("std", 0.0),
            ("shift", 0.0),
            ("shift", -3.0),
            ("shift", math.inf),
        ],
    )
    def test_what_cannot_be_sampled_is_refused(self, field: str, value: object) -> None:
        with pytest.raises(ValueError, match=f"{field}="):
            TimeSampling(**{field: value})


class TestSchedule:
    @given(steps=st.integers(1, 100), shift=st.floats(0.1, 20))
    def test_it_falls_from_one_to_zero(self, steps: int, shift: float) -> None:
        sigmas = sigma_schedule(steps, shift)
        assert len(sigmas) == steps + 1
        assert (sigmas[0], sigmas[-1]) == (1.0, 0.0)
        assert (sigmas.diff() < 0).all()

    @given(time=st.floats(0.01, 0.99), one=st.floats(0.2, 9), other=st.floats(0.2, 9))
    def test_two_shifts_are_one_by_their_product(
        self, time: float, one: float, other: float
    ) -> None:
        start = torch.tensor(time, dtype=torch.float64)
        assert torch.allclose(shifted(shifted(start, one), other), shifted(start, one * other))

    def test_where_the_last_step_starts(self) -> None:
        """The figures by which diffusers' default schedules differ from Wan's, at 50 steps."""
        unipc, euler = stock_unipc(), FlowMatchEulerDiscreteScheduler(shift=SHIFT)
        for scheduler in (unipc, euler):
            scheduler.set_timesteps(50)
        assert sigma_schedule(50, SHIFT)[-2].item() == pytest.approx(0.0577, abs=1e-4)
        assert unipc.sigmas[-2].item() == pytest.approx(0.0604, abs=1e-4)
        assert euler.sigmas[-2].item() == pytest.approx(0.0089, abs=1e-4)
        assert unipc.timesteps.dtype == torch.int64

    @pytest.mark.parametrize(("steps", "shift"), [(0, 3.0), (-1, 3.0), (5, 0.0), (5, math.nan)])
    def test_no_steps_or_no_shift_is_refused(self, steps: int, shift: float) -> None:
        with pytest.raises(ValueError, match=r"steps=|shift="):
            sigma_schedule(steps, shift)


def test_guidance_extrapolates() -> None:
    conditional, unconditional = noise(seed=1), noise(seed=2)
    assert torch.equal(guided(conditional, unconditional, 1.0), conditional)
    assert torch.equal(guided(conditional, unconditional, 0.0), unconditional)
    twice = guided(conditional, unconditional, 2.0)
    assert torch.allclose(twice, 2 * conditional - unconditional, atol=1e-6)


def stock_unipc() -> UniPCMultistepScheduler:
    """As in Wan's pipelines at 480p."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT
    )


def wans_sigmas() -> np.ndarray:
    """As Wan's repository hands them to its schedulers, before the shift."""
    return np.linspace(1, 0, STEPS + 1)[:STEPS].copy()


def wobbly(latents: Tensor, sigma: float) -> Tensor:
    """A velocity that depends on everything, so that a step too many or too few shows."""
    return torch.sin(3 * latents) + sigma * latents.roll(1, -1)


def trajectory(solver: Solver, velocity: Callable[[Tensor, float], Tensor]) -> list[Tensor]:
    states = [noise()]
    for index, sigma in enumerate(solver.sigmas[:-1].tolist()):
        states.append(solver.step(states[-1], velocity(states[-1], sigma), index))
    return states


class TestSolvers:
    @pytest.mark.parametrize(
        ("name", "scheduler"),
        [("euler", FlowMatchEulerDiscreteScheduler(shift=SHIFT)), ("unipc", stock_unipc())],
    )
    def test_steps_are_diffusers_on_the_same_sigmas(
        self, name: str, scheduler: FlowMatchEulerDiscreteScheduler | UniPCMultistepScheduler
    ) -> None:
        solver = make_solver(name, STEPS, SHIFT)
        scheduler.set_timesteps(sigmas=wans_sigmas())
        assert torch.allclose(scheduler.sigmas.double(), solver.sigmas, atol=1.1e-6)
        latents = noise()
        states = trajectory(solver, wobbly)
        for index, timestep in enumerate(scheduler.timesteps):
            velocity = wobbly(latents, solver.sigmas[index].item())
            latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
            assert torch.allclose(states[index + 1], latents, atol=1e-6), index

    @pytest.mark.parametrize(("name", "order"), [("euler", 1.0), ("unipc", 2.0)])
    def test_they_converge_to_the_exact_flow_of_a_gaussian(self, name: str, order: float) -> None:
        # For data N(mean, std²) the flow is known: a point keeps its distance from the mean in
        # standard deviations. Shift 1 keeps the last steps from hiding the order.
        mean, std = 2.0, 0.5

        def velocity(latents: Tensor, t: float) -> Tensor:
            variance = ((1 - t) * std) ** 2 + t**2
            rate = (t - (1 - t) * std**2) / variance
            return -mean + rate * (latents - (1 - t) * mean)

        exact = mean + std * noise()
        errors = [
            (trajectory(make_solver(name, steps, 1.0), velocity)[-1] - exact).abs().max().item()
            for steps in (20, 80)
        ]
        assert math.log(errors[0] / errors[1], 4) > order - 0.2
        assert errors[1] < 0.05

    @pytest.mark.parametrize("name", ["euler", "unipc"])
    def test_the_end_is_exact_for_a_straight_flow(self, name: str) -> None:
        clean = noise(seed=9)
        states = trajectory(make_solver(name, STEPS, SHIFT), lambda *_: noise() - clean)
        assert torch.allclose(states[-1], clean, atol=1e-5)

    @pytest.mark.parametrize("name", ["euler", "unipc"])
    def test_the_same_again(self, name: str) -> None:
        first, second = (trajectory(make_solver(name, STEPS, SHIFT), wobbly) for _ in range(2))
        assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))

    @pytest.mark.parametrize("name", ["euler", "unipc"])
    def test_the_network_is_told_unrounded_times(self, name: str) -> None:
        solver = make_solver(name, 7, SHIFT)
        assert torch.equal(solver.timesteps, (1000 * solver.sigmas[:-1]).float())
        assert solver.timesteps.frac().max() > 0

    @pytest.mark.parametrize("name", ["euler", "unipc"])
    def test_bfloat16_latents_stay_bfloat16(self, name: str) -> None:
        state = noise().bfloat16()
        assert make_solver(name, 4, SHIFT).step(state, state, 0).dtype == torch.bfloat16

    @pytest.mark.parametrize("name", ["euler", "unipc"])
    @pytest.mark.parametrize("taken", [[1], [0, 0], [0, 2], [0, 1, 2, 3, 4]])
    def test_steps_out_of_order_are_refused(self, name: str, taken: list[int]) -> None:
        solver, state = make_solver(name, 4, SHIFT), noise()
        for index in taken[:-1]:
            state = solver.step(state, state, index)
        with pytest.raises(ValueError, match=r"take steps in order"):
            solver.step(state, state, taken[-1])

    def test_an_unknown_solver_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"'heun' is unknown: choose one of unipc, euler"):
            make_solver("heun", STEPS, SHIFT)
