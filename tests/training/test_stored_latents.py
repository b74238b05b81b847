"""Precomputed latents: what the network is fed is bit for bit what it is fed without them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.codec import LatentCodec, WanCodec
from model.dct import DctCodec
from model.text import ByteEncoder
from tests.model.tiny_wan import tiny_vae
from tests.training.tiny_dataset import TinyDataset
from tests.training.tiny_run import tiny_config
from training.batches import Batch
from training.config import TrainConfig
from training.data import TrainingData
from training.errors import SideShardError
from training.latent_windows import SampleWindows, latents_head
from training.masks import FIXED_KINDS, FrameMask, MaskKind
from training.objective import Inputs, Objective, ObjectiveConfig
from training.precomputed import PrecomputedConfig
from training.side_shards import SideRef, publish_set, write_shard
from training.stored_latents import StoredLatents, StoredWindow
from training.windows import possible_starts

STARTS, STEPS = 3, 6
CPU = torch.device("cpu")


def config_of(*conditions: MaskKind, starts: int | None = STARTS) -> TrainConfig:
    config = tiny_config(precomputed=PrecomputedConfig(conditions=conditions))
    windows = dataclasses.replace(config.data.windows, starts=starts)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, windows=windows))


def stored(
    folder: Path,
    tiny: TinyDataset,
    config: TrainConfig,
    damaged: dict[str, str] | None = None,
    codec: LatentCodec | None = None,
) -> SideRef:
    damaged = damaged or {}
    codec = codec or DctCodec()
    with SampleWindows.open(str(tiny.manifest), None, config) as windows:
        wanted = sorted(windows.ids.keys() - damaged.keys())
        members = windows.members(wanted, codec, CPU, {})
        shard = write_shard(folder, "000000", "plan", members, damaged)
        assert len(shard.members) == sum(len(windows.of(sample)) for sample in wanted)
    return publish_set(folder, latents_head("a" * 64, config, codec), 1 << 20, [shard], {}).ref


def batches_of(
    tiny: TinyDataset,
    config: TrainConfig,
    latents: StoredLatents | None = None,
    steps: int = STEPS,
) -> list[Batch]:
    with (
        TrainingData.open(tiny.manifest, config.data, latents=latents) as data,
        data.loader(stop=steps) as loader,
    ):
        return list(loader)


class Counting:
    """A codec that counts the windows it encodes."""

    def __init__(self, codec: LatentCodec) -> None:
        self._codec = codec
        self.geometry, self.fingerprint = codec.geometry, codec.fingerprint
        self.encoded = 0

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        self.encoded += len(video)
        return self._codec.encode(video)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self._codec.decode(latents)


def prepared(batches: list[Batch], inner: LatentCodec) -> tuple[list[Inputs], int]:
    codec = Counting(inner)
    objective = Objective(codec, ByteEncoder(width=16, length=4), ObjectiveConfig())
    return [objective.prepare(batch) for batch in batches], codec.encoded


@pytest.mark.parametrize(
    ("kind", "conditions", "steps"), [("dct", (), STEPS), ("dct", FIXED_KINDS, STEPS),
                                      ("wan", ("first", "every4"), 2)]
)  # fmt: skip
def test_what_the_network_is_fed_is_the_same(
    tiny: TinyDataset, tmp_path: Path, kind: str, conditions: tuple[MaskKind, ...], steps: int
) -> None:
    codec = DctCodec() if kind == "dct" else WanCodec(tiny_vae())
    config = config_of(*conditions, starts=STARTS if kind == "dct" else 1)
    fly = batches_of(tiny, config, steps=steps)
    with StoredLatents.open(stored(tmp_path, tiny, config, codec=codec)) as latents:
        ahead = batches_of(tiny, config, latents, steps)
    one, encoded = prepared(fly, codec)
    other, left = prepared(ahead, codec)
    for a, b in zip(one, other, strict=True):
        for name in ("latents", "noise", "times", "text", "positions", "given"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name
        assert torch.equal(a.condition.mask, b.condition.mask)
        assert torch.equal(a.condition.latents, b.condition.latents)
    windows = sum(map(len, fly))
    grey = len({batch.bucket for batch in fly if not batch.frame_mask.any(dim=1).all()})
    given = [bool(mask.any()) for batch in fly for mask in batch.frame_mask]
    taken = [c is not None for batch in ahead for c in batch.conditions]
    assert encoded == windows + sum(given) + grey, "grey is encoded once for each bucket"
    assert left == sum(given) - sum(taken) + grey
    assert bool(sum(taken)) == bool(conditions)


def test_a_condition_is_stored_for_its_own_mask_alone() -> None:
    """Of a window in which a shot has lost its given frames it would be another."""
    anchors = torch.ones(16, 3, 4, 6)
    window = StoredWindow(torch.zeros(16, 3, 4, 6), {"every4": anchors})
    given = np.array([1, 0, 0, 0, 1, 0, 0, 0, 1], np.bool_)
    assert window.condition_of(FrameMask("every4", given)) is anchors
    assert window.condition_of(FrameMask("random", given)) is None
    for frame in (0, 4, 8):
        lost = given.copy()
        lost[frame] = False
        assert window.condition_of(FrameMask("every4", lost)) is None


def test_pictures_are_decoded_only_where_they_are_needed(tiny: TinyDataset, tmp_path: Path) -> None:
    config = config_of("first")
    with StoredLatents.open(stored(tmp_path, tiny, config)) as latents:
        ahead = batches_of(tiny, config, latents)
    for batch, other in zip(ahead, batches_of(tiny, config), strict=True):
        assert batch.sample_ids == other.sample_ids
        assert torch.equal(batch.starts, other.starts)
        assert torch.equal(batch.frame_mask, other.frame_mask)
        for row in range(len(batch)):
            if batch.conditions[row] is None and batch.frame_mask[row].any():
                assert torch.equal(batch.pixels[row], other.pixels[row])
            else:
                assert not batch.pixels[row].any()


def test_damage_that_was_there_is_replaced_as_it_would_have_been(
    tiny: TinyDataset, tmp_path: Path
) -> None:
    config = config_of()
    sick = batches_of(tiny, config)[0].sample_ids[0]
    with StoredLatents.open(stored(tmp_path, tiny, config, {sick: "other bytes"})) as latents:
        batches = batches_of(tiny, config, latents)
    assert batches[0].damaged == {sick: "other bytes"}
    assert all(sick not in batch.sample_ids for batch in batches)


def test_latents_of_other_windows_are_refused(tiny: TinyDataset, tmp_path: Path) -> None:
    with (
        StoredLatents.open(stored(tmp_path, tiny, config_of(starts=1))) as latents,
        pytest.raises(SideShardError, match=r"no latents of sample .* of this run's windows"),
    ):
        batches_of(tiny, config_of(starts=STARTS), latents)


@settings(deadline=None)
@given(st.integers(1, 3000), st.sampled_from([6, 12, 24]), st.integers(0, 30), st.integers(1, 50))
def test_windows_begin_evenly_and_fit(count: int, rate: int, groups: int, starts: int) -> None:
    frames = 4 * groups + 1
    last = count - 1 - (frames - 1) * 24 // rate
    if last < 0:
        return
    anywhere = possible_starts(count, rate, frames, None)
    assert list(anywhere) == list(range(last + 1))
    few = list(possible_starts(count, rate, frames, starts))
    assert len(few) == min(starts, last + 1)
    assert sorted(set(few)) == few and 0 <= few[0] <= few[-1] <= last
    if len(few) > 1:
        assert (few[0], few[-1]) == (0, last)
        steps = np.diff(few)
        assert steps.max() - steps.min() <= 1
    elif last:
        assert abs(few[0] - last / 2) <= 0.5


def test_configs_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ValueError, match=r"windows\.starts = 0"):
        config_of(starts=0)
    with pytest.raises(ValueError, match=r"conditions = random: give some of every2"):
        PrecomputedConfig(conditions=("random",))
    with pytest.raises(ValueError, match="each once"):
        PrecomputedConfig(conditions=("first", "first"))
    with pytest.raises(ValueError, match=r"shard_bytes = 0"):
        PrecomputedConfig(shard_bytes=0)
    with pytest.raises(ValueError, match=r"require with data\.windows\.starts = none"):
        tiny_config(precomputed=PrecomputedConfig(latents="require"))
    with pytest.raises(ValueError, match=r"is drawn anew; leave out every2$"):
        dataclasses.replace(config_of("first", "every2"), objective=ObjectiveConfig(0.5))
