"""Multi-mask conditioning against stock Wan, the folds worked out by hand, and what is refused."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline
from hypothesis import given as generated
from hypothesis import settings
from hypothesis import strategies as st

from model.codec import WanCodec
from model.conditioning import condition, fold_mask, mask_of
from model.dct import DctCodec
from model.schedule import Schedule
from model.tree import plan_tree
from tests.model.tiny_wan import tiny_vae

FRAMES, SIDE = 17, 16


@pytest.fixture(scope="module")
def codec() -> WanCodec:
    return WanCodec(tiny_vae())


@pytest.fixture
def video() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, FRAMES, SIDE, SIDE + 8, generator=generator) * 2 - 1


def stock(codec: WanCodec, first: torch.Tensor, last: torch.Tensor | None) -> torch.Tensor:
    """Mask and condition latents of stock diffusers, for pictures [1,3,H,W]."""
    pipeline = WanImageToVideoPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=codec.vae,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )
    _, conditions = pipeline.prepare_latents(
        first,
        batch_size=1,
        height=first.shape[-2],
        width=first.shape[-1],
        num_frames=FRAMES,
        dtype=torch.float32,
        device=torch.device("cpu"),
        last_image=last,
    )
    return conditions


# -- stock Wan --------------------------------------------------------------------------------


def test_image_to_video_is_stock_wans(codec: WanCodec, video: torch.Tensor) -> None:
    ours = condition(video[:1], mask_of([0], FRAMES), codec)
    theirs = stock(codec, video[:1, :, 0], None)
    torch.testing.assert_close(ours.channels(), theirs, rtol=0, atol=0)


def test_first_and_last_frame_is_stock_wans(codec: WanCodec, video: torch.Tensor) -> None:
    ours = condition(video[:1], mask_of([0, FRAMES - 1], FRAMES), codec)
    theirs = stock(codec, video[:1, :, 0], video[:1, :, -1])
    torch.testing.assert_close(ours.channels(), theirs, rtol=0, atol=0)


def test_one_image_may_be_supplied_alone(codec: WanCodec, video: torch.Tensor) -> None:
    ours = condition(video[:1, :, :1], mask_of([0], FRAMES), codec)
    torch.testing.assert_close(ours.channels(), stock(codec, video[:1, :, 0], None), rtol=0, atol=0)


# -- masks ------------------------------------------------------------------------------------


def test_anchors_of_half_and_quarter_rate_fold_as_worked_out_by_hand() -> None:
    halves = plan_tree(Schedule.parse("f(6,12,24)m(1,2,4)"), 481).node("2.1").frame_mask
    quarters = plan_tree(Schedule.parse("f(6,24)m(1,4)"), 481).node("1.1").frame_mask
    for mask, later in ((halves, [0, 1, 0, 1]), (quarters, [0, 0, 0, 1])):
        folded = fold_mask(torch.tensor([mask]))
        assert folded.shape == (1, 4, 31)
        assert folded[0, :, 0].tolist() == [1, 1, 1, 1]
        assert all(folded[0, :, k].tolist() == later for k in range(1, 31))


@generated(
    st.integers(1, 12).flatmap(
        lambda n: st.lists(st.booleans(), min_size=4 * n + 1, max_size=4 * n + 1)
    )
)
@settings(max_examples=50, deadline=None)
def test_latent_k_tells_of_frames_4k_minus_3_to_4k(mask: list[bool]) -> None:
    folded = fold_mask(torch.tensor([mask]))[0]
    assert folded[:, 0].tolist() == [mask[0]] * 4
    for k in range(1, folded.shape[1]):
        assert folded[:, k].tolist() == [mask[4 * k - 3 + c] for c in range(4)]


def test_each_sample_of_a_batch_has_its_own_mask(codec: WanCodec, video: torch.Tensor) -> None:
    masks = torch.cat([mask_of([0], FRAMES), mask_of(range(5), FRAMES)])
    both = condition(video, masks, codec)
    for k in range(2):
        alone = condition(video[k : k + 1], masks[k : k + 1], codec)
        torch.testing.assert_close(both.channels()[k : k + 1], alone.channels())
    assert both.mask.shape == (2, 4, 5, 2, 3)
    assert both.latents.shape == (2, 16, 5, 2, 3)


# -- what is not given ------------------------------------------------------------------------


def test_nothing_given_is_the_encoding_of_a_grey_video(codec: WanCodec) -> None:
    empty = torch.zeros(1, 3, 0, SIDE, SIDE)
    made = condition(empty, mask_of([], FRAMES), codec)
    assert not made.mask.any()
    torch.testing.assert_close(made.latents, codec.encode(torch.zeros(1, 3, FRAMES, SIDE, SIDE)))
    assert made.latents.abs().max() > 0.01  # grey latents, not zeros


def test_what_the_mask_does_not_mark_is_not_looked_at(video: torch.Tensor) -> None:
    codec = DctCodec()
    mask = mask_of([0, 7], FRAMES).expand(2, -1)
    spoilt = torch.full_like(video, torch.nan)
    spoilt[:, :, [0, 7]] = video[:, :, [0, 7]]
    torch.testing.assert_close(
        condition(spoilt, mask, codec).channels(), condition(video, mask, codec).channels()
    )


def test_given_frames_keep_their_place(video: torch.Tensor) -> None:
    made = condition(video, mask_of([8], FRAMES).expand(2, -1), DctCodec())
    grey = DctCodec().encode(torch.zeros_like(video))
    differs = (made.latents - grey).abs().amax(dim=(0, 1, 3, 4)) > 1e-3
    assert differs.tolist() == [False, False, True, False, False]  # frame 8 is the last of latent 2


# -- what is refused --------------------------------------------------------------------------


def test_lengths_that_are_not_4n_plus_1_are_refused(codec: WanCodec, video: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="cut it to 13, or pad it to 17"):
        condition(video[:, :, :16], torch.ones(2, 16), codec)
    with pytest.raises(ValueError, match="16 frames"):
        fold_mask(torch.ones(1, 16))


def test_a_marked_frame_must_be_supplied(video: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="marks frame 16 of sample 1, but only 5"):
        masks = torch.cat([mask_of([0], FRAMES), mask_of([0, 16], FRAMES)])
        condition(video[:, :, :5], masks, DctCodec())
    with pytest.raises(ValueError, match="a clip of 17 has frames 0 to 16"):
        mask_of([17], FRAMES)


@pytest.mark.parametrize("value", [1.01, -255.0, float("nan"), float("inf")])
def test_values_outside_the_range_are_refused_where_marked(
    video: torch.Tensor, value: float
) -> None:
    video[1, 0, 3, 2, 2] = value
    with pytest.raises(ValueError, match=r"frame 3 of sample 1 reaches .*x/127.5-1"):
        condition(video, mask_of([3], FRAMES).expand(2, -1), DctCodec())
    condition(video, mask_of([4], FRAMES).expand(2, -1), DctCodec())


def test_soft_masks_and_wrong_shapes_are_refused(video: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="only 0"):
        condition(video, torch.full((2, FRAMES), 0.5), DctCodec())
    with pytest.raises(ValueError, match="batch of 2"):
        condition(video, mask_of([0], FRAMES), DctCodec())
    with pytest.raises(ValueError, match="extend it"):
        condition(video, torch.zeros(2, 13), DctCodec())
    with pytest.raises(ValueError, match=r"give \[B,3,G,H,W\]"):
        condition(video[:, :1], torch.zeros(2, FRAMES), DctCodec())
    with pytest.raises(ValueError, match="crop or scale to 8 x 24"):
        condition(video[:, :, :, :12], torch.zeros(2, FRAMES), DctCodec())
