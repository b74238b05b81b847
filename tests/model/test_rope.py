"""Temporal positions: upstream's tables where they are whole numbers, differences elsewhere."""

import math

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from hypothesis import given, settings
from hypothesis import strategies as st

from model.rope import TemporalRotaryPosEmbed
from tests.model.tiny import inputs, tiny_network, velocity

HEAD_DIM, PATCH = 128, (1, 2, 2)
LATENTS = torch.zeros(2, 1, 6, 4, 6)
TOKENS_PER_FRAME = 2 * 3


@pytest.fixture(scope="module")
def rope() -> TemporalRotaryPosEmbed:
    return TemporalRotaryPosEmbed(HEAD_DIM, PATCH, 64)


@pytest.fixture(scope="module")
def stock() -> WanRotaryPosEmbed:
    return WanRotaryPosEmbed(HEAD_DIM, PATCH, 64)


def whole(start: int = 0, step: int = 1) -> torch.Tensor:
    return torch.arange(start, start + 6 * step, step).expand(2, -1)


def test_it_is_stock_without_positions(
    rope: TemporalRotaryPosEmbed, stock: WanRotaryPosEmbed
) -> None:
    for ours, theirs in zip(rope(LATENTS), stock(LATENTS), strict=True):
        assert torch.equal(ours, theirs)
    assert dict(rope.named_buffers()).keys() == dict(stock.named_buffers()).keys()
    assert not rope.state_dict()


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64])
def test_counting_up_is_stock(
    rope: TemporalRotaryPosEmbed, stock: WanRotaryPosEmbed, dtype: torch.dtype
) -> None:
    for ours, theirs in zip(rope(LATENTS, whole().to(dtype)), stock(LATENTS), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs.expand(2, -1, -1, -1))


@pytest.mark.parametrize(("start", "step"), [(7, 1), (0, 2), (3, 4)])
def test_whole_positions_are_rows_of_the_stock_table(
    rope: TemporalRotaryPosEmbed, stock: WanRotaryPosEmbed, start: int, step: int
) -> None:
    longer = torch.zeros(1, 1, start + 6 * step, 4, 6)
    for ours, theirs in zip(rope(LATENTS, whole(start, step)), stock(longer), strict=True):
        rows = theirs.unflatten(1, (-1, TOKENS_PER_FRAME))[:, whole(start, step)[0]]
        assert torch.equal(ours[:1], rows.flatten(1, 2))


def test_angles_are_positions_times_a_geometric_series(rope: TemporalRotaryPosEmbed) -> None:
    position = 9_876.54321
    angles = rope.temporal_angles(torch.tensor([[position]], dtype=torch.float64))[0, 0]
    assert rope.t_dim == 44
    for pair, angle in enumerate(angles.tolist()):
        assert angle == pytest.approx(position * 10_000 ** (-2 * pair / 44), rel=1e-14)


def test_cosines_are_accurate_far_from_zero(rope: TemporalRotaryPosEmbed) -> None:
    position = 9_876.54321
    cosines, sines = rope(LATENTS, torch.full((2, 6), position, dtype=torch.float64))
    assert cosines[1, -1, 0, 0].item() == pytest.approx(math.cos(position), abs=1e-7)
    assert sines[1, -1, 0, 1].item() == pytest.approx(math.sin(position), abs=1e-7)


def test_each_sample_has_its_own(rope: TemporalRotaryPosEmbed) -> None:
    together = rope(LATENTS, torch.stack([whole()[0], 3 * whole()[1]]))
    for sample, step in ((0, 1), (1, 3)):
        alone = rope(LATENTS[:1], whole(0, step)[:1])
        for both, one in zip(together, alone, strict=True):
            assert torch.equal(both[sample], one[0])


def test_temporal_angles_stay_float32_in_a_cast_network(rope: TemporalRotaryPosEmbed) -> None:
    cast = TemporalRotaryPosEmbed(HEAD_DIM, PATCH, 64).bfloat16()
    spacing = whole().double() + 300.5
    for ours, exact in zip(cast(LATENTS, spacing), rope(LATENTS, spacing), strict=True):
        assert torch.equal(ours[..., :44], exact[..., :44])


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (torch.zeros(6), r"shape \[6\]: must be \[2, 6\]"),
        (torch.zeros(1, 6), r"shape \[1, 6\]: must be \[2, 6\]"),
        (torch.zeros(2, 5), r"shape \[2, 5\]: must be \[2, 6\]"),
        (torch.zeros(2, 6, dtype=torch.bfloat16), "bfloat16, which rounds positions beyond 256"),
        (torch.zeros(2, 6, dtype=torch.float16), "float16, which rounds"),
    ],
)
def test_positions_that_do_not_fit_are_refused(
    rope: TemporalRotaryPosEmbed, positions: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rope(LATENTS, positions)


def test_a_forward_within_a_forward_is_refused(rope: TemporalRotaryPosEmbed) -> None:
    with rope.at(whole()):
        ours = rope(LATENTS)
        with pytest.raises(RuntimeError, match="a network of its own"), rope.at(whole()):
            pass
    assert ours[0].shape[0] == 2
    assert rope(LATENTS)[0].shape[0] == 1


@settings(max_examples=15, deadline=None)
@given(start=st.floats(0, 10_000), spacing=st.sampled_from([1.0, 2.0, 4.0, 0.25]))
def test_a_common_offset_changes_nothing(start: float, spacing: float) -> None:
    network, given_inputs = tiny_network().eval(), inputs()
    rows = spacing * torch.arange(5, dtype=torch.float64).expand(2, -1)
    with torch.no_grad():
        here = velocity(network, given_inputs, rows)
        for dtype in (torch.float64, torch.float32):
            there = velocity(network, given_inputs, (rows + start).to(dtype))
            assert (here - there).abs().max() < 1e-4


def test_spacing_changes_the_prediction() -> None:
    network, given_inputs = tiny_network().eval(), inputs()
    rows = torch.arange(5.0).expand(2, -1)
    with torch.no_grad():
        at = {step: velocity(network, given_inputs, step * rows) for step in (1.0, 1.01, 2.0, 4.0)}
    assert (at[1.0] - at[1.01]).abs().max() > 1e-3
    for one, other in ((1.0, 2.0), (2.0, 4.0), (1.0, 4.0)):
        assert (at[one] - at[other]).abs().max() > 0.05
