"""Dynamic degree against flows that are known, VBench's loop, and RAFT called directly."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.optical_flow import raft_large

from evaluation.errors import MetricError
from evaluation.metrics.arrays import F32
from evaluation.metrics.dynamic_degree import DynamicDegree, fastest, moves
from evaluation.metrics.raft import raft_flow
from tests.evaluation.metrics.videos import U8, judged, pan, still


def whole_shift(first: U8, second: U8) -> F32:
    """The one shift between whole pictures, whole pixels to either side, by trying them all."""
    flows = []
    for one, other in zip(first, second, strict=True):
        errors = {
            shift: np.abs(one[:, 10 + shift : -10 + shift or None].astype(int) - other[:, 10:-10])
            for shift in range(-10, 10)
        }
        best = min(errors, key=lambda shift: errors[shift].mean())
        flows.append(np.full((*one.shape[:2], 2), (-best, 0), np.float32))
    return np.stack(flows)


def metric() -> DynamicDegree:
    return DynamicDegree("any", "", whole_shift, batch=3)


# 96 lines: six pixels of 256 are 2.25, and at 24 fps one frame in three is looked at.
@pytest.mark.parametrize(("step", "dynamic"), [(0.0, 0.0), (2 / 3, 0.0), (1.0, 1.0), (2.0, 1.0)])
def test_a_pan_is_dynamic_from_six_pixels_of_256(step: float, dynamic: float) -> None:
    found = judged(metric(), pan(96, step))
    assert found.value == dynamic
    assert found.details["speed"] == pytest.approx(3 * step * 256 / 96, rel=1e-6)


def test_the_value_is_the_share_of_clips_that_move() -> None:
    frames = np.concatenate([still(48), pan(48, 2.0), still(96)])
    found = judged(metric(), frames)
    assert found.series == (0.0, 1.0, 0.0, 0.0)
    assert found.value == 0.25
    assert found.details["moving_clips"] == 1


def by_vbench(speeds: list[float], fps: float, sampled: int) -> bool:
    """The published loop: count up, and stop once a quarter of sixteen is reached."""
    threshold = max(1.0, 8.0 / fps) * 6.0
    needed, count = round(4 * (sampled / 16.0)), 0
    for speed in speeds:
        count += speed > threshold
        if count >= needed:
            return True
    return False


@pytest.mark.parametrize("fps", [4, 8, 24, 30])
def test_the_verdict_is_vbenchs_for_any_clip_of_three_samples_and_more(fps: int) -> None:
    rng = np.random.default_rng(fps)
    for sampled in range(3, 40):
        for limit in (6.5, 8, 13, 20):
            speeds = rng.uniform(0, limit, sampled - 1)
            found = moves(speeds, Fraction(fps), sampled)
            assert found == by_vbench(list(speeds), fps, sampled)


def test_two_still_samples_are_not_dynamic_as_vbenchs_rounding_would_have_it() -> None:
    assert by_vbench([0.0], 8, 2)
    assert not moves(np.zeros(1), Fraction(8), 2)


def test_the_fastest_twentieth_is_a_mean_of_lengths() -> None:
    flow = np.random.default_rng(0).normal(size=(37, 53, 2)).astype(np.float32)
    lengths = np.sort(np.sqrt(flow[..., 0] ** 2 + flow[..., 1] ** 2).ravel())[::-1]
    assert fastest(flow) == pytest.approx(lengths[: int(37 * 53 * 0.05)].mean(), rel=1e-6)
    with pytest.raises(MetricError, match="5 %"):
        fastest(flow[:3, :3])
    flow[0, 0] = np.nan
    with pytest.raises(MetricError, match="not finite"):
        fastest(flow)


def test_raft_is_shown_pictures_padded_on_both_sides_and_asked_for_twenty_updates() -> None:
    torch.manual_seed(0)
    network = raft_large(weights=None).eval()
    first, second = (pan(2, 4.0, 130, 140)[k : k + 1] for k in (0, 1))
    found = raft_flow(network, "cpu")(first, second)

    def shown(frame: U8) -> Tensor:
        padded = np.pad(frame[0], [(3, 3), (2, 2), (0, 0)], mode="edge").astype(np.float32)
        return torch.from_numpy(2 * (padded / 255) - 1).permute(2, 0, 1)[None]

    with torch.no_grad():
        expected = network(shown(first), shown(second), num_flow_updates=20)[-1]
    assert found.shape == (1, 136, 144, 2)
    np.testing.assert_allclose(found[0], expected[0].permute(1, 2, 0).numpy(), atol=1e-3)


def test_pictures_too_small_for_raft_are_refused() -> None:
    with pytest.raises(MetricError, match="128 pixels"):
        raft_flow(nn.Identity(), "cpu")(still(1), still(1))


def test_too_short_a_video_is_refused() -> None:
    with pytest.raises(MetricError, match="one sampled frame"):
        judged(metric(), still(3))
