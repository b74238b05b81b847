"""One example: the right frames at the right size, and what is drawn with them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from curation.identities import canonical_json
from curation.video.packed import PackedVideo
from pipelines.settings import typed_config, with_overrides
from tests.training.tiny_dataset import U8, TinyDataset, stamp
from training.batches import Batch, chosen, noise_like
from training.data import DataConfig, TrainingData, stage_1, stage_2
from training.draws import Draws, Purpose
from training.examples import ExampleConfig, View, caption_of, drawn_view, fit
from training.masks import MaskConfig, MaskMixture
from training.plan import BatchConfig
from training.samples import Shot
from training.windows import WindowConfig

FULL_SIZE = WindowConfig(
    sizes=((192, 128), (128, 192)), rates=(6, 12, 24), lengths=(9, 17, 33, 61), min_seconds=0
)


def epoch(tiny: TinyDataset, config: DataConfig, split: str = "train") -> list[Batch]:
    """All batches of the first epoch, one micro-batch a step."""
    with TrainingData.open(tiny.manifest, config, split=split) as data:
        assert config.batch.microbatches == 1
        with data.loader(stop=data.plan.epoch_microbatches) as loader:
            return list(loader)


@pytest.fixture(scope="module")
def batches(tiny: TinyDataset) -> list[Batch]:
    examples = ExampleConfig(
        masks=MaskConfig(MaskMixture(random=0.0, every2=1.0), shot_dropout=0.6), text_dropout=0.3
    )
    batch = BatchConfig(microbatches=1, samples=4)
    config = DataConfig(windows=FULL_SIZE, examples=examples, batch=batch)
    return epoch(tiny, config) + epoch(tiny, config, "val")


def test_each_frame_shown_is_the_one_its_index_names(
    tiny: TinyDataset, batches: list[Batch]
) -> None:
    """By the bar code that was rendered into it, and by what the sample's JSON says."""
    shown = 0
    for batch in batches:
        for row, sample in enumerate(batch.sample_ids):
            start, stride = int(batch.starts[row]), 24 // int(batch.rates[row])
            expected = tiny.stamps(sample)[start::stride][: batch.bucket.frames]
            pixels = batch.pixels[row].numpy()
            assert [stamp(picture) for picture in pixels] == expected
            shown += 1
    assert shown == 3 * len(tiny.documents)


def test_pictures_are_decord_s_own_at_full_size(tiny: TinyDataset, batches: list[Batch]) -> None:
    with TrainingData.open(tiny.manifest, DataConfig(windows=FULL_SIZE)) as data:
        stored = {sample.sample_id: sample for sample in map(data.samples.read, range(9))}
    for batch in batches[:6]:
        start, stride = int(batch.starts[0]), 24 // int(batch.rates[0])
        indices = [start + stride * k for k in range(batch.bucket.frames)]
        frames = PackedVideo(stored[batch.sample_ids[0]].mp4).frames(indices)
        assert np.array_equal(batch.pixels[0].numpy(), frames)


def test_what_the_network_is_fed(batches: list[Batch]) -> None:
    for batch in batches[:8]:
        videos = batch.frames()
        count, bucket = len(batch), batch.bucket
        assert videos.shape == (count, 3, bucket.frames, bucket.height, bucket.width)
        assert videos.dtype == batch.times.dtype and videos.abs().max() <= 1.0
        assert float(videos[0, 2, 1, 5, 7]) == pytest.approx(
            int(batch.pixels[0, 1, 5, 7, 2]) / 127.5 - 1
        )
        assert batch.frame_mask.shape == (count, bucket.frames)
        assert batch.positions.shape == (count, bucket.latents)
        assert len(set(batch.noise_seeds.tolist())) == count
        spacing = batch.positions.diff(dim=1)
        assert (spacing - (24 / batch.rates)[:, None]).abs().max() < 1e-9
        offsets = batch.positions[:, 0] - batch.starts / 4
        assert ((offsets >= 0) & (offsets <= 360)).all()


def test_captions_are_of_the_shots_that_are_shown(tiny: TinyDataset, batches: list[Batch]) -> None:
    several = dropped = 0
    for batch in batches:
        for row, sample in enumerate(batch.sample_ids):
            frames = int(batch.starts[row]) + 24 // int(batch.rates[row]) * np.arange(
                batch.bucket.frames
            )
            said = [
                shot["caption"]
                for shot in tiny.documents[sample]["shots"]
                if ((shot["start_frame"] <= frames) & (frames < shot["end_frame"])).any()
            ]
            whole = said[0]
            if len(said) > 1:
                whole = "<MultiShot> " + " <Scene Cut> ".join(said)
                several += 1
            assert batch.captions[row] in (whole, "")
            dropped += not batch.captions[row]
    assert several >= 2
    assert 0.05 < dropped / (3 * len(tiny.documents)) < 0.6  # 0.3 of 30


def test_shots_lose_their_given_frames_together(tiny: TinyDataset, batches: list[Batch]) -> None:
    emptied = 0
    for batch in batches:
        for row, sample in enumerate(batch.sample_ids):
            frames = int(batch.starts[row]) + 24 // int(batch.rates[row]) * np.arange(
                batch.bucket.frames
            )
            ends = [shot["end_frame"] for shot in tiny.documents[sample]["shots"]]
            numbers = np.searchsorted(ends, frames, side="right")
            every2 = np.arange(batch.bucket.frames) % 2 == 0
            present = set(numbers.tolist())
            for number in present:
                given = batch.frame_mask[row].numpy() & (numbers == number)
                of_shot = every2 & (numbers == number)
                lost = not given.any() and of_shot.any()
                assert lost or np.array_equal(given, of_shot)
                assert not lost or len(present) > 1
                emptied += lost
    assert emptied >= 2


def test_times_starts_and_offsets_fill_their_ranges(tiny: TinyDataset) -> None:
    """Times by the logit-normal of Eq. 7 with a shift of 3 (App. A), the others evenly."""
    windows = WindowConfig(
        sizes=((32, 16), (16, 32)), rates=(24,), lengths=(17,), min_seconds=0, max_crop=0.9
    )
    config = DataConfig(windows=windows, batch=BatchConfig(microbatches=1, samples=8))
    times, offsets, places = [], [], []
    with TrainingData.open(tiny.manifest, config) as data, data.loader(stop=40) as loader:
        for batch in loader:
            times += batch.times.tolist()
            offsets += (batch.positions[:, 0] - batch.starts / 4).tolist()
            slack = [tiny.documents[sample]["frame_count"] - 16 for sample in batch.sample_ids]
            places += (batch.starts.numpy() / slack).tolist()
    unshifted = [t / (3 - 2 * t) for t in times]  # t = 3u / (1 + 2u)
    assert stats.kstest(stats.logistic.ppf(unshifted), "norm").pvalue > 1e-3
    assert stats.kstest(np.array(offsets) / 360, "uniform").pvalue > 1e-3
    assert stats.kstest(places, "uniform").pvalue > 1e-3


def picture(rows: int, columns: int) -> U8:
    """Smooth waves: what any good filter scales alike."""
    y, x = np.mgrid[0:rows, 0:columns] / max(rows, columns)
    waves = [np.sin(7 * x + 3 * y), np.cos(5 * y), np.sin(4 * x - 6 * y)]
    return np.asarray(127.5 + 120 * np.stack(waves, axis=-1), np.uint8)


@pytest.mark.parametrize("shape", [(128, 192), (360, 640), (240, 120), (48, 96), (64, 96)])
def test_scaling_is_pillow_s_on_the_middle(shape: tuple[int, int]) -> None:
    original = picture(*shape)
    out = np.empty((2, 64, 96, 3), np.uint8)
    fit(np.stack([original, original[::-1]]), out)
    rows, columns = shape
    scale = max(64 / rows, 96 / columns)
    top, left = (rows - 64 / scale) / 2, (columns - 96 / scale) / 2
    box = (left, top, columns - left, rows - top)
    expected = np.asarray(
        Image.fromarray(original).resize((96, 64), Image.Resampling.BILINEAR, box=box), np.int64
    )
    assert np.abs(out[0] - expected).max() <= 1
    assert np.abs(out[1].astype(int) - out[0, ::-1]).max() <= 1


@given(
    share=st.floats(0.3, 1), across=st.floats(0, 1), down=st.floats(0, 1),
    shape=st.sampled_from([(128, 192), (360, 640), (240, 120)]),
)  # fmt: skip
def test_a_view_is_pillow_s_of_that_part(
    share: float, across: float, down: float, shape: tuple[int, int]
) -> None:
    original, out = picture(*shape), np.empty((1, 64, 96, 3), np.uint8)
    fit(original[None], out, View(share, across, down))
    rows, columns = shape
    scale = max(64 / rows, 96 / columns) / share
    kept = 96 / scale, 64 / scale
    left, top = (columns - kept[0]) * across, (rows - kept[1]) * down
    box = left, top, min(columns, left + kept[0]), min(rows, top + kept[1])
    expected = Image.fromarray(original).resize((96, 64), Image.Resampling.BILINEAR, box=box)
    # The part is cut at whole pixels; from one to the next the waves change by 8 levels at most.
    assert np.abs(out[0].astype(int) - np.asarray(expected, np.int64)).max() <= 2 * 8


def test_views_are_drawn_evenly() -> None:
    views = [drawn_view(0.4, Draws(0, Purpose.VIEW, slot, 0)) for slot in range(4000)]
    shares = (np.array([view.share for view in views]) - 0.4) / 0.6
    for drawn in (shares, [view.across for view in views], [view.down for view in views]):
        assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    assert drawn_view(1.0, Draws(0, Purpose.VIEW, 0, 0)) == View()


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((1, 480, 640, 3), np.uint8)
    stripes[:, :, ::2] = 255
    out = np.empty((1, 48, 64, 3), np.uint8)
    fit(stripes, out)
    assert np.abs(out.astype(int) - 127).max() <= 8


def test_a_caption_of_one_shot_has_no_tags() -> None:
    shots = (Shot(0, 10, "a pond"), Shot(10, 20, "a hill"), Shot(20, 30, "a road"))
    assert caption_of(shots, np.array([1, 1, 1])) == "a hill"
    assert caption_of(shots, np.array([1, 1, 2])) == "<MultiShot> a hill <Scene Cut> a road"


def test_noise_is_a_sample_s_own(batches: list[Batch]) -> None:
    batch = max(batches, key=len)
    latents = batch.positions.new_zeros(len(batch), 16, 3, 8, 12)
    noise = noise_like(latents, batch.noise_seeds)
    assert noise.shape == latents.shape
    alone = noise_like(latents[1:2], batch.noise_seeds[1:2])
    assert np.array_equal(noise[1:2], alone)
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3


def test_chosen_takes_its_share(batches: list[Batch]) -> None:
    assert all(not chosen(batch, 0.0, Purpose.ANCHORS).any() for batch in batches)
    assert all(chosen(batch, 1.0, Purpose.ANCHORS).all() for batch in batches)
    half = sum(int(chosen(batch, 0.5, Purpose.ANCHORS).sum()) for batch in batches)
    assert 0.2 < half / sum(map(len, batches)) < 0.8


def test_the_paper_s_stages() -> None:
    first, second = stage_1(), stage_2()
    assert (first.windows.rates, first.windows.usable_lengths) == ((24,), (121,))
    assert set(first.examples.masks.mixture.weights().values()) == {0.0, 1.0}
    assert first.examples.masks.mixture.random == 1.0
    assert first.examples.masks.max_random_share == 0.15
    assert second.windows.rates == (6, 12, 24)
    assert (second.windows.min_seconds, second.windows.max_seconds) == (5.0, 60.0)
    assert all(second.examples.masks.mixture.weights().values())
    for config in (first, second):
        assert config.batch.microbatches * config.batch.samples == 32


def test_configs_are_recorded_and_overridden_field_by_field() -> None:
    changes = ["examples.masks.mixture.first=0.4", "windows.sizes=[[96,64],[64,96]]",
               "windows.max_seconds=none", "batch.tokens=5000", "loader.workers=3"]  # fmt: skip
    changed = with_overrides(stage_2(), changes)
    assert changed.examples.masks.mixture.first == 0.4
    assert changed.windows.sizes == ((96, 64), (64, 96))
    assert typed_config(DataConfig, json.loads(canonical_json(changed))) == changed


@pytest.mark.parametrize(
    "fields", [{"max_start": -1.0}, {"text_dropout": 1.5}, {"least_view": 0.0}]
)
def test_configs_that_cannot_be_meant_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"examples\.{next(iter(fields))}"):
        ExampleConfig(**fields)  # type: ignore[arg-type] - fields by name
    with pytest.raises(ValueError, match=r"data\.seed"):
        DataConfig(seed=-1)
    with pytest.raises(ValueError, match=r"data\.windows\.starts = 4 with .*least_view = 0\.5"):
        DataConfig(WindowConfig(starts=4), ExampleConfig(least_view=0.5))
