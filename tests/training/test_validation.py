"""Held-out losses: the same at every call and on any number of ranks, and by the definition."""

import dataclasses

import pytest
import torch
from torch import Tensor

from model import presets
from model.conditioning import fold_mask
from model.dct import DctCodec
from model.dit import MultiMaskDiT
from model.text import ByteEncoder
from tests.model.tiny import tiny_network
from tests.training.print_batches import config
from tests.training.tiny_dataset import TinyDataset
from training.batches import noise_like
from training.objective import Objective, ObjectiveConfig
from training.validation import Validation, ValidationConfig

WINDOWS = 7
ASKED = ValidationConfig(windows=WINDOWS, times=(0.4, 0.9), masks=("every4", "prefix", "none"))
TEXT = ByteEncoder(width=presets.tiny().text_dim, length=6)


def opened(
    tiny: TinyDataset,
    asked: ValidationConfig = ASKED,
    rank: int = 0,
    ranks: int = 1,
    seed: int = 11,
) -> Validation:
    data = dataclasses.replace(config(), seed=seed)
    # The network's tokens are 16 pixels wide, and a step's micro-batches are the run's own affair.
    windows = dataclasses.replace(data.windows, token_side=16)
    objective = Objective(DctCodec(), TEXT, ObjectiveConfig(codec_samples=4))
    shown = dataclasses.replace(data, windows=windows)
    return Validation(str(tiny.manifest), shown, asked, objective, rank=rank, ranks=ranks)


@pytest.fixture(scope="module")
def whole(tiny: TinyDataset) -> Tensor:
    """Of one rank."""
    with opened(tiny) as validation:
        return validation.losses(tiny_network())


def test_every_window_mask_and_time_is_measured(whole: Tensor) -> None:
    assert whole.shape == (WINDOWS, 6)
    assert (whole > 0).all()
    assert ASKED.names == [
        "every4/t0.4", "every4/t0.9", "prefix/t0.4", "prefix/t0.9", "none/t0.4", "none/t0.9",
    ]  # fmt: skip


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_ranks_share_the_windows_and_run_the_network_equally_often(
    tiny: TinyDataset, whole: Tensor, ranks: int
) -> None:
    network, total = tiny_network(), torch.zeros_like(whole)
    runs: list[int] = [0]
    network.register_forward_hook(lambda *_: runs.__setitem__(-1, runs[-1] + 1))
    for rank in range(ranks):
        with opened(tiny, rank=rank, ranks=ranks) as validation:
            share = validation.losses(network)
        assert not ((share != 0) & (total != 0)).any()
        total += share
        runs.append(0)
    torch.testing.assert_close(total, whole, rtol=1e-4, atol=1e-5)
    assert len(set(runs[:-1])) == 1


def test_a_run_with_another_seed_is_judged_by_the_same(tiny: TinyDataset, whole: Tensor) -> None:
    with opened(tiny, seed=99) as validation:
        assert torch.equal(validation.losses(tiny_network()), whole)
    other = dataclasses.replace(ASKED, seed=1)
    with opened(tiny, other) as validation:
        assert not torch.equal(validation.losses(tiny_network()), whole)


def test_losses_are_those_of_the_window(tiny: TinyDataset, whole: Tensor) -> None:
    """Held-out pictures, their caption, every 4th frame given, t = 0.9, by hand."""
    network, codec = tiny_network(), DctCodec()
    held_out = tiny.of_split("val")
    with opened(tiny) as validation:
        for part in validation.held_out():
            batch = part.batch
            assert set(batch.sample_ids) <= held_out.keys()
            assert all(batch.captions)
            video = batch.frames()
            mask = torch.zeros(video.shape[2], dtype=torch.bool)
            mask[::4] = True
            grey = torch.where(mask.view(1, 1, -1, 1, 1), video, 0.0)
            clean = codec.encode(video)
            noise = noise_like(clean, batch.noise_seeds)
            channels = fold_mask(mask[None])[..., None, None].expand(
                len(batch), -1, -1, *clean.shape[-2:]
            )
            with torch.no_grad():
                said = network(
                    torch.cat([0.1 * clean + 0.9 * noise, channels, codec.encode(grey)], dim=1),
                    torch.full((len(batch),), 900.0),
                    TEXT.encode(list(batch.captions)),
                    return_dict=False,
                    temporal_positions=batch.positions,
                )[0]
            loss = (said - (noise - clean)).square().flatten(1).mean(1)
            rows = slice(part.places.start, part.places.stop)
            torch.testing.assert_close(
                whole[rows, 1], loss[: len(part.places)], rtol=1e-4, atol=1e-5
            )


def test_a_network_under_training_comes_back_as_it_was(tiny: TinyDataset) -> None:
    network = MultiMaskDiT.of(presets.tiny()).train()
    with opened(tiny, dataclasses.replace(ASKED, windows=1)) as validation:
        validation.losses(network)
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"windows": 0}, "windows"), ({"times": (0.0,)}, "times"), ({"masks": ("every3",)}, "masks")],
)
def test_configs_that_mean_nothing_are_refused(fields: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=rf"validation\.{named}"):
        ValidationConfig(**fields)
