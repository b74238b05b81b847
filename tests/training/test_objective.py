"""The objective against closed forms, stock diffusers, and hand-made inputs of the network."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from model import presets
from model.dct import DctCodec
from model.dit import MultiMaskDiT
from model.presets import DiTConfig
from model.text import ByteEncoder
from tests.model.tiny import stock_twin, tiny_network
from tests.training.print_batches import config
from tests.training.tiny_dataset import TinyDataset
from training.batches import Batch
from training.data import TrainingData
from training.masks import MaskConfig, MaskKind, MaskMixture
from training.objective import Inputs, Objective, ObjectiveConfig
from training.windows import Bucket, temporal_positions

FRAMES, HEIGHT, WIDTH = 17, 32, 48
TEXT = ByteEncoder(width=presets.tiny().text_dim, length=5)


def objective(*, anchor_round_trip: float = 0.0, codec_samples: int = 1) -> Objective:
    return Objective(DctCodec(), TEXT, ObjectiveConfig(anchor_round_trip, codec_samples))


def batch_of(
    *kinds: MaskKind, given: list[list[int]], rate: int = 24, start: int = 0, seed: int = 0
) -> Batch:
    """Windows of drifting waves, with these frames given."""
    size = len(kinds)
    generator = torch.Generator().manual_seed(seed)
    phase = torch.rand(size, 1, 1, 1, 3, generator=generator) * 6
    frame = torch.arange(FRAMES).view(1, -1, 1, 1, 1) * 0.4
    row, column = (
        torch.arange(HEIGHT).view(1, 1, -1, 1, 1),
        torch.arange(WIDTH).view(1, 1, 1, -1, 1),
    )
    waves = torch.sin(phase + frame + row / 5 + column / 7)
    mask = torch.zeros(size, FRAMES, dtype=torch.bool)
    for number, frames in enumerate(given):
        mask[number, frames] = True
    positions = torch.from_numpy(temporal_positions(start, rate, FRAMES, 0.0))
    return Batch(
        step=0,
        slot=0,
        bucket=Bucket(WIDTH, HEIGHT, FRAMES),
        step_samples=size,
        last_of_step=True,
        pixels=((waves + 1) * 127.5).round().to(torch.uint8),
        frame_mask=mask,
        positions=positions.expand(size, -1).clone(),
        times=torch.linspace(0.2, 0.9, size),
        noise_seeds=torch.arange(size) + 100,
        rates=torch.full((size,), rate),
        starts=torch.full((size,), start),
        captions=tuple(f"a wave number {k}" for k in range(size)),
        mask_kinds=kinds,
        sample_ids=tuple(f"{k:032x}" for k in range(size)),
        damaged={},
    )


def videos(batch: Batch) -> Tensor:
    """Pixels in [-1,1], by the definition."""
    return batch.pixels.permute(0, 4, 1, 2, 3).double().sub(127.5).div(127.5).float()


def noises(batch: Batch) -> Tensor:
    shape = (16, 5, HEIGHT // 8, WIDTH // 8)
    drawn = [
        torch.randn(shape, generator=torch.Generator().manual_seed(int(seed)))
        for seed in batch.noise_seeds
    ]
    return torch.stack(drawn)


class Says:
    """A network that says one thing, and remembers what it was asked."""

    def __init__(self, velocity: Tensor) -> None:
        self.velocity = velocity
        self.asked: dict[str, Tensor] = {}

    def __call__(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        *,
        return_dict: bool,
        temporal_positions: Tensor,
    ) -> tuple[Tensor]:
        assert not return_dict
        self.asked = {
            "hidden_states": hidden_states,
            "timestep": timestep,
            "text": encoder_hidden_states,
            "positions": temporal_positions,
        }
        return (self.velocity,)


def test_the_network_is_fed_what_the_paper_says() -> None:
    """Eq. 3 and the layout of Wan's conditions, written out again."""
    batch = batch_of(
        "every2", "every4", "none", given=[list(range(0, 17, 2)), [0, 4, 8, 12, 16], []]
    )
    made = objective()
    network = Says(torch.zeros(3, 16, 5, 4, 6))
    made.loss(network, made.prepare(batch))
    codec, video = DctCodec(), videos(batch)
    clean, noise, t = codec.encode(video), noises(batch), batch.times.view(-1, 1, 1, 1, 1)
    grey = video.clone()
    grey[0, :, 1::2] = 0
    grey[1, :, [frame for frame in range(17) if frame % 4]] = 0
    grey[2] = 0
    folded = torch.tensor([[[0, 1, 0, 1]] * 5, [[0, 0, 0, 1]] * 5, [[0] * 4] * 5]).float()
    folded[:2, 0] = 1
    masks = folded.transpose(1, 2)[..., None, None].expand(-1, -1, -1, 4, 6)
    expected = torch.cat([(1 - t) * clean + t * noise, masks, codec.encode(grey)], dim=1)
    torch.testing.assert_close(network.asked["hidden_states"], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(network.asked["timestep"], 1000 * batch.times)
    assert torch.equal(network.asked["text"], TEXT.encode(list(batch.captions)))
    assert network.asked["positions"].tolist() == [[0, 1, 2, 3, 4]] * 3


def test_losses_of_known_predictions() -> None:
    """Nothing said: the velocity's own power. The truth: zero. A constant error: its square."""
    batch = batch_of("first", "none", "every4", given=[[0], [], [0, 4, 8, 12, 16]])
    made = objective()
    inputs = made.prepare(batch)
    velocity = noises(batch) - DctCodec().encode(videos(batch))
    power = made.loss(Says(torch.zeros_like(velocity)), inputs)
    by_hand = velocity.square().flatten(1).mean(1)
    torch.testing.assert_close(power.per_sample, by_hand)
    torch.testing.assert_close(power.total, by_hand.mean())
    assert made.loss(Says(velocity), inputs).total.item() < 1e-10
    error = torch.zeros_like(velocity)
    error[:, :, 0], error[:, :, 1:] = 2.0, 3.0
    split = made.loss(Says(velocity + error), inputs)
    torch.testing.assert_close(split.per_sample, torch.full((3,), (4 + 4 * 9) / 5))
    # Given: latent 0 of the first, none of the second, all of the third.
    torch.testing.assert_close(split.given, torch.tensor([4.0, math.nan, 8.0]), equal_nan=True)
    torch.testing.assert_close(split.free, torch.tensor([9.0, 8.0, math.nan]), equal_nan=True)


def test_stock_diffusers_gives_the_same_loss() -> None:
    """At 24 fps from frame 0 positions are those of the stock network; at 6 fps they are not."""
    network = tiny_network()
    stock = stock_twin(network)

    def stock_loss(inputs: Inputs) -> Tensor:
        said = stock(
            torch.cat([inputs.noisy, *inputs.condition], dim=1),
            1000 * inputs.times,
            inputs.text,
            return_dict=False,
        )[0]
        loss: Tensor = (said - (inputs.noise - inputs.latents)).square().mean()
        return loss

    made = objective()
    with torch.no_grad():
        for rate, same in ((24, True), (6, False)):
            inputs = made.prepare(batch_of("first", "none", given=[[0], []], rate=rate))
            difference = abs(made.loss(network, inputs).total - stock_loss(inputs)).item()
            assert (difference < 1e-5) is same


@pytest.mark.parametrize("missing", ["mask", "condition", "positions", "text", "time"])
def test_everything_that_is_fed_is_felt(missing: str) -> None:
    """A rule that went missing on the way to the network would show in the loss."""
    network, made = tiny_network(), objective()
    with torch.no_grad():
        inputs = made.prepare(batch_of("first", "every4", given=[[0], [0, 4, 8, 12, 16]], rate=12))
        mask, condition = inputs.condition
        without = {
            "mask": {"condition": inputs.condition._replace(mask=torch.zeros_like(mask))},
            "condition": {"condition": inputs.condition._replace(latents=0 * condition)},
            "positions": {"positions": torch.arange(5).expand(2, -1)},
            "text": {"text": torch.zeros_like(inputs.text)},
            "time": {"times": inputs.times.flip(0)},
        }[missing]
        whole = made.loss(network, inputs).per_sample
        changed = dataclasses.replace(inputs, **without)  # type: ignore[arg-type]  # fields by name
        assert (made.loss(network, changed).per_sample - whole).abs().min() > 1e-5


def test_an_offset_of_all_positions_is_not_felt_but_their_spacing_is() -> None:
    network, made = tiny_network(), objective()
    with torch.no_grad():
        at = [
            made.loss(network, made.prepare(batch_of("first", given=[[0]], rate=rate, start=start)))
            for rate, start in ((12, 0), (12, 480), (24, 0))
        ]
    offset, spacing = (abs(at[0].total - other.total).item() for other in at[1:])
    assert spacing > 1e-3
    assert offset < spacing / 100


def test_totals_of_micro_batches_add_up_to_the_mean_and_gradients_too() -> None:
    batch = batch_of("first", "none", "every4", given=[[0], [], [0, 4, 8, 12, 16]])
    network, made = tiny_network(), objective()
    whole = made.loss(network, made.prepare(batch))
    whole.total.backward()
    together = network.patch_embedding.weight.grad.clone()
    network.zero_grad()
    torch.testing.assert_close(whole.total, whole.per_sample.mean())
    parts = [rows_of(batch, slice(0, 1)), rows_of(batch, slice(1, 3))]
    totals = [made.loss(network, made.prepare(part)).total for part in parts]
    for total in totals:
        total.backward()
    torch.testing.assert_close(sum(totals), whole.total)
    torch.testing.assert_close(network.patch_embedding.weight.grad, together, rtol=1e-3, atol=1e-5)


def rows_of(batch: Batch, rows: slice) -> Batch:
    """Some windows of a micro-batch, in the same step."""
    cut = {
        name: getattr(batch, name)[rows]
        for name in (
            "pixels", "frame_mask", "positions", "times", "noise_seeds",
            "rates", "starts", "captions", "mask_kinds", "sample_ids",
        )
    }  # fmt: skip
    return dataclasses.replace(batch, **cut)


def test_how_many_samples_the_codec_takes_changes_nothing() -> None:
    kinds: tuple[MaskKind, ...] = ("every2", "every4", "first", "none", "every2")
    given = [list(range(0, 17, 2)), [0, 4, 8, 12, 16], [0], [], list(range(0, 17, 2))]
    batch = batch_of(*kinds, given=given)
    made = [
        objective(codec_samples=size, anchor_round_trip=0.5).prepare(batch) for size in (1, 2, 9)
    ]
    for other in made[1:]:
        torch.testing.assert_close(other.hidden_states, made[0].hidden_states)


def test_anchors_that_come_from_a_level_above_have_been_through_the_codec() -> None:
    given = [list(range(0, 17, 2)), [0, 4, 8, 12, 16], [0]]
    batch = batch_of("every2", "every4", "first", given=given)
    inputs = objective(anchor_round_trip=1.0).prepare(batch)
    codec, video = DctCodec(), videos(batch)
    # A parent at 12 fps shows frames 0, 2 … 16; one at 6 fps shows 0, 4 … 16: both are 4n+1 long.
    expected = torch.zeros_like(video)
    expected[0, :, ::2] = codec.decode(codec.encode(video[:1, :, ::2]))[0]
    expected[1, :, ::4] = codec.decode(codec.encode(video[1:2, :, ::4]))[0]
    expected[2, :, 0] = video[2, :, 0]  # what the user gives comes as it is
    torch.testing.assert_close(inputs.condition.latents, codec.encode(expected), rtol=0, atol=1e-5)
    plain = objective().prepare(batch)
    assert torch.equal(inputs.latents, plain.latents)  # what is to be learnt stays
    apart = (inputs.condition.latents - plain.condition.latents).abs().amax(dim=(1, 2, 3, 4))
    assert (apart > 1e-2).tolist() == [True, True, False]


def test_round_trips_come_by_their_share_whatever_the_batch() -> None:
    size = 40
    batch = batch_of(*["every4"] * size, given=[[0, 4, 8, 12, 16]] * size)
    plain = objective(codec_samples=size).prepare(batch).condition.latents
    half = objective(codec_samples=size, anchor_round_trip=0.5).prepare(batch).condition.latents
    made = ((half - plain).abs().amax(dim=(1, 2, 3, 4)) > 1e-3).tolist()
    assert 10 <= sum(made) <= 30
    alone = objective(anchor_round_trip=0.5).prepare(rows_of(batch, slice(5, 6)))
    torch.testing.assert_close(alone.condition.latents[0], half[5])


def test_a_clip_that_is_not_4n_plus_1_long_makes_its_round_trip_too() -> None:
    """A window of 13 frames has 7 at half the rate; codecs are causal, so the end is padded."""
    batch = batch_of("every2", given=[list(range(0, 13, 2))])
    short = dataclasses.replace(
        batch,
        bucket=Bucket(WIDTH, HEIGHT, 13),
        pixels=batch.pixels[:, :13],
        frame_mask=batch.frame_mask[:, :13],
        positions=batch.positions[:, :4],
    )
    inputs = objective(anchor_round_trip=1.0).prepare(short)
    codec, video = DctCodec(), videos(short)
    clip = video[:, :, [0, 2, 4, 6, 8, 10, 12, 12, 12]]
    expected = torch.zeros_like(video)
    expected[:, :, ::2] = codec.decode(codec.encode(clip))[:, :, :7]
    torch.testing.assert_close(inputs.condition.latents, codec.encode(expected), rtol=0, atol=1e-5)


def test_shots_that_lost_their_frames_condition_nothing(tiny: TinyDataset) -> None:
    """The multi-shot rule, from the shards to the channels of the network."""
    masks = {
        dropout: MaskConfig(MaskMixture(random=0, every2=1), shot_dropout=dropout)
        for dropout in (0.0, 1.0)
    }
    marked = {}
    for dropout, mask in masks.items():
        drawn = config()
        examples = dataclasses.replace(drawn.examples, masks=mask)
        with (
            TrainingData.open(tiny.manifest, dataclasses.replace(drawn, examples=examples)) as data,
            data.loader(stop=3) as loader,
        ):
            marked[dropout] = [
                (" <Scene Cut> " in caption, float(channels.mean()))
                for batch in loader
                for caption, channels in zip(
                    batch.captions, objective().prepare(batch).condition.mask, strict=True
                )
                if caption
            ]
    assert {cut for cut, _ in marked[1.0]} == {True, False}
    assert all((share == 0) is cut for cut, share in marked[1.0])
    assert all(share > 0 for _, share in marked[0.0])


def test_one_clip_is_learnt_by_heart() -> None:
    """Loss at most .05 at all times that count; as t falls to 0 the noise cannot be told.

    With frames given: where none is, a token of noise has nothing but relative positions to tell
    which part of the clip it is, and takes many times the steps to learn it (docs/learning.md).
    """
    torch.manual_seed(0)
    size = DiTConfig(2, 32, 128, 2, text_dim=TEXT.width, freq_dim=32, patch_size=(1, 1, 1))
    network = MultiMaskDiT.of(size)
    kinds: tuple[MaskKind, ...] = ("first", "first", "every4", "every2") * 2
    given = [[0], [0], [0, 4], [0, 2, 4]] * 2
    copies, frames, side = len(kinds), 5, 32
    batch = batch_of(*kinds, given=given)
    batch = dataclasses.replace(
        batch,
        bucket=Bucket(side, side, frames),
        pixels=batch.pixels[:1, :frames, :side, :side].expand(copies, -1, -1, -1, -1),
        frame_mask=batch.frame_mask[:, :frames],
        positions=batch.positions[:, :2],
    )
    made = objective(codec_samples=copies)
    steps = 400
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 8e-3, total_steps=steps)
    inputs = made.prepare(batch)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        noise = torch.randn(inputs.noise.shape, generator=generator)
        times = 0.25 + 0.75 * torch.rand(copies, generator=generator)
        losses = made.loss(network, dataclasses.replace(inputs, noise=noise, times=times))
        optimiser.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        found = {
            t: made.loss(
                network, dataclasses.replace(inputs, times=torch.full((copies,), t))
            ).per_sample.tolist()
            for t in (0.3, 0.5, 0.7, 0.9)
        }
    assert max(loss for losses in found.values() for loss in losses) < 0.05, found


@pytest.mark.parametrize("share", [1.5, -0.1, math.nan])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"objective\.anchor_round_trip"):
        objective(anchor_round_trip=share)


def test_a_codec_that_takes_no_samples_is_refused() -> None:
    with pytest.raises(ValueError, match=r"objective\.codec_samples"):
        objective(codec_samples=0)
