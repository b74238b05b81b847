"""Temporal positions: upstream's tables where they are whole numbers, differences elsewhere."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn.functional import rms_norm

from model.rope import TemporalRotaryPosEmbed
from model.schedule import Schedule
from model.tree import plan_tree
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


def logits(rope: TemporalRotaryPosEmbed, positions: torch.Tensor) -> torch.Tensor:
    """Of normalised queries and keys, rotated in float32 as upstream's attention does."""
    generator = torch.Generator().manual_seed(0)
    cosines, sines = rope(LATENTS[:1], positions[None])

    def rotated() -> torch.Tensor:
        tokens = torch.randn(1, 6 * TOKENS_PER_FRAME, 1, HEAD_DIM, generator=generator)
        turned = torch.view_as_complex(rms_norm(tokens, (HEAD_DIM,)).unflatten(-1, (-1, 2)))
        return torch.view_as_real(
            turned * torch.complex(cosines[..., 0::2], sines[..., 1::2])
        ).flatten(2)[0]

    return rotated() @ rotated().T / math.sqrt(HEAD_DIM)


def near_powers_of_two(test: Callable[..., None]) -> Callable[..., None]:
    """Where the numbers of float32 become twice as coarse, within the window."""
    for power in (256, 1024, 4096, 8192):
        for below in (0.25, 1.0, 6.0):
            test = example(quarters=int(4 * (power - below)), beyond=0.1, spacing=1.0)(test)
    return test


SPACINGS = st.sampled_from([0.25, 1.0, 2.0, 4.0])


@near_powers_of_two
@settings(max_examples=100, deadline=None)
@given(quarters=st.integers(0, 40_000), beyond=st.floats(0, 0.25), spacing=SPACINGS)
def test_a_common_offset_changes_no_logit(quarters: int, beyond: float, spacing: float) -> None:
    """Quarters in float32, as generation has them; any number in float64, as training has."""
    rope = TemporalRotaryPosEmbed(HEAD_DIM, PATCH, 64)
    rows = spacing * torch.arange(6, dtype=torch.float64)
    here = logits(rope, rows)
    assert here.abs().max() > 2
    offset = quarters / 4
    for moved in ((rows + offset).float(), rows + offset + beyond):
        assert (logits(rope, moved) - here).abs().max() < 1e-5


def test_what_float32_cannot_hold_is_moved() -> None:
    rope = TemporalRotaryPosEmbed(HEAD_DIM, PATCH, 64)
    rows = torch.arange(6, dtype=torch.float64)
    moved = (logits(rope, (rows + 8191.9).float()) - logits(rope, rows)).abs().max()
    assert 1e-4 < moved < 1e-3


@pytest.mark.parametrize("start", [0.25, 4095.75, 8191.75, 9999.75])
def test_a_common_offset_changes_no_prediction(start: float) -> None:
    network, given_inputs = tiny_network().eval(), inputs()
    rows = torch.arange(5, dtype=torch.float64).expand(2, -1)
    with torch.no_grad():
        here = velocity(network, given_inputs, rows)
        for moved in ((rows + start).float(), rows + start + 0.1):
            assert (here - velocity(network, given_inputs, moved)).abs().max() < 1e-5


def test_positions_of_generation_are_exact_in_float32() -> None:
    """A day at 24 fps from the first frame on, at every rate."""
    for rate in (1, 6, 24):
        schedule = Schedule((rate,), (1,))
        last = 24 * 60 * 60 * 24 // schedule.moduli[0] * schedule.moduli[0]
        [node] = plan_tree(schedule, 97).nodes
        for window in (node, dataclasses.replace(node, start=last, end=last + node.end)):
            positions = torch.tensor(window.positions, dtype=torch.float64)
            assert torch.equal(positions, positions.float().double())
            assert torch.equal(positions * 4, (positions * 4).round())


def test_spacing_changes_the_prediction() -> None:
    network, given_inputs = tiny_network().eval(), inputs()
    rows = torch.arange(5.0).expand(2, -1)
    with torch.no_grad():
        at = {step: velocity(network, given_inputs, step * rows) for step in (1.0, 1.01, 2.0, 4.0)}
    assert (at[1.0] - at[1.01]).abs().max() > 1e-3
    for one, other in ((1.0, 2.0), (2.0, 4.0), (1.0, 4.0)):
        assert (at[one] - at[other]).abs().max() > 0.05
