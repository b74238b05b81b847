"""The learning rate of a step, AdamW with its average, and configs that refuse what cannot work."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.lora import LoraSettings
from tests.training.tiny_run import tiny_config
from training.ema import EmaConfig
from training.engine import EngineConfig
from training.network import InitConfig, NetworkConfig
from training.optimiser import AveragingAdamW, OptimiserConfig


@given(st.integers(0, 4000), st.sampled_from(["constant", "cosine"]))
def test_learning_rate(step: int, schedule: Any) -> None:
    config = OptimiserConfig(lr=2e-4, warmup=1000, schedule=schedule, final_share=0.1)
    rate = config.lr_at(step, 4000)
    assert 0 < rate <= 2e-4
    if step < 1000:
        assert rate == pytest.approx(2e-4 * (step + 1) / 1000)
    elif schedule == "constant":
        assert rate == 2e-4
    else:
        swing = 0.5 * (1 + math.cos(math.pi * (step - 1000) / 3000))
        assert rate == pytest.approx(2e-5 + 1.8e-4 * swing)


def test_it_is_adamw_and_the_average_is_as_defined() -> None:
    """Against stock AdamW, and the average written out weight by weight."""
    torch.manual_seed(0)
    config, average = OptimiserConfig(lr=0.1, weight_decay=0.1), EmaConfig(decay=0.7)
    ours, stock = (torch.nn.Parameter(torch.arange(5.0)) for _ in range(2))
    untouched = torch.nn.Parameter(torch.ones(3))
    adam = AveragingAdamW([ours, untouched], config, average)
    reference = torch.optim.AdamW([stock], lr=0.1, weight_decay=0.1)
    expected = ours.detach().double().clone()
    for update in range(1, 9):
        gradient = torch.randn(5)
        ours.grad, stock.grad = gradient.clone(), gradient.clone()
        adam.step()
        reference.step()
        decay = min(0.7, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * ours.detach().double()
    assert torch.equal(ours, stock)
    torch.testing.assert_close(adam.state[ours]["ema"].double(), expected, rtol=1e-6, atol=1e-6)
    assert not adam.state[untouched]


def test_without_a_ramp_the_decay_is_constant() -> None:
    assert EmaConfig(ramp=False).decay_at(1) == 0.999
    assert EmaConfig().decay_at(1) == pytest.approx(2 / 11)
    assert EmaConfig().decay_at(10_000) == 0.999


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: EngineConfig(precision="bfloat16", zero=1), "engine.zero = 2 or 3"),
        (lambda: EngineConfig(offload="optimiser", zero=0), "engine.zero = 1 or more"),
        (lambda: EngineConfig(offload="all", zero=2), "engine.zero = 3"),
        (lambda: EngineConfig(context_parallel=0), "at least 1"),
        (lambda: OptimiserConfig(lr=0), "optimiser.lr"),
        (lambda: OptimiserConfig(clip_norm=0), "none not to clip"),
        (lambda: EmaConfig(decay=1.0), "ema.decay"),
        (lambda: InitConfig("random", "folder"), "init.source"),
        (lambda: _with_lora(EngineConfig(zero=3)), "engine.zero = 2"),
        (
            lambda: NetworkConfig(tiny_config().network.size, lora=LoraSettings()),
            "adapters of random weights",
        ),
        (lambda: tiny_config(stage="3"), "stage_1"),
        (lambda: _compiled(EngineConfig(zero=2, context_parallel=2)), "network.compile"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def _with_lora(engine: EngineConfig) -> None:
    network = NetworkConfig(
        tiny_config().network.size, init=InitConfig("checkpoint", "there"), lora=LoraSettings()
    )
    tiny_config(engine=engine, network=network)


def _compiled(engine: EngineConfig) -> None:
    tiny_config(engine=engine, network=dataclasses.replace(tiny_config().network, compile=True))
