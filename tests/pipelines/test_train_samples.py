"""A video by a network in training: from a held-out film's first frame, beside what followed."""

import errno
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curation.video.encode import FilmWriter
from curation.video.packed import PackedVideo
from model import presets
from model.dct import DctCodec
from model.dit import MultiMaskDiT
from model.generation import TreeGenerator
from model.text import ByteEncoder
from pipelines.train_samples import HeldOutVideo, sheet_of, tree_for
from tests.training.tiny_dataset import TinyDataset
from training.errors import TrainingDataError
from training.validation import VideoSampling
from training.windows import WindowConfig

WINDOWS = WindowConfig(sizes=((96, 64),), lengths=(9, 13, 153), min_seconds=0.0, max_crop=0.6)
SAMPLING = VideoSampling("euler", (4, 3, 2))


@pytest.fixture(scope="module")
def generator() -> TreeGenerator:
    torch.manual_seed(0)
    size = presets.tiny()
    text = ByteEncoder(width=size.text_dim, length=8)
    return TreeGenerator(MultiMaskDiT.of(size).train(), DctCodec(), text)


def test_a_sheet_shows_what_came_out_above_what_followed(
    tiny: TinyDataset, generator: TreeGenerator, tmp_path: Path
) -> None:
    video = HeldOutVideo.find(tiny.manifest, WINDOWS, SAMPLING, tmp_path)
    # Nothing held out lasts the 609 frames of a tree of windows of 153.
    assert (frames := len(video.truth)) == 4 * 12 + 1
    sheet = video(generator, 7, write=True)
    assert sheet == sheet_of(tmp_path, 7) and generator.network.training
    assert {path.suffix for path in sheet.parent.iterdir()} == {".png", ".mp4"}
    assert len(list(sheet.parent.iterdir())) == 2
    assert video.request.sampling.solver == "euler"
    made = PackedVideo(sheet.with_suffix(".mp4").read_bytes())
    assert len(made) == frames
    page = np.asarray(Image.open(sheet)).astype(int)
    # Four rows of six thumbnails of 96 x 64, twice, each under its title.
    assert page.shape == (2 * (18 + 4 * 64), 6 * 96, 3)
    real = page[18 + 256 + 18 :][:64, :96]
    assert np.abs(real - video.truth[0])[16:].mean() < 1  # the top has the time written on it


def test_of_what_cannot_be_encoded_nothing_stays(
    tiny: TinyDataset,
    generator: TreeGenerator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    video = HeldOutVideo.find(tiny.manifest, WINDOWS, SAMPLING, tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="no space left"):
        patched.setattr(FilmWriter, "write_rgb", full)
        video(generator, 1, write=True)
    assert not list((tmp_path / "samples").iterdir())
    assert video(generator, 1, write=True).is_file()


def test_ranks_that_do_not_write_make_it_too_and_leave_nothing(
    tiny: TinyDataset, generator: TreeGenerator, tmp_path: Path
) -> None:
    """Sharded weights need all ranks; that each runs the network equally often is what counts."""
    video = HeldOutVideo.find(tiny.manifest, WINDOWS, SAMPLING, tmp_path)
    calls = []
    counting = generator.network.register_forward_hook(lambda *_: calls.append(None))
    try:
        counts = []
        for write in (False, True):
            video(generator, 1, write=write)
            counts.append(len(calls))
            calls.clear()
            if not write:
                assert not list(tmp_path.iterdir())
        # One that cannot write (there is a file where the folder should be) does its part too.
        (tmp_path / "samples").rename(tmp_path / "written")
        (tmp_path / "samples").write_text("no folder")
        with pytest.raises(FileExistsError, match="samples"):
            video(generator, 2, write=True)
        counts.append(len(calls))
    finally:
        counting.remove()
    # 4 steps of one window, 3 of two and 2 of four, of which some go together.
    assert counts[0] == counts[1] == counts[2]
    assert 4 + 3 + 2 <= counts[0] <= 4 * 1 + 3 * 2 + 2 * 4


@pytest.mark.parametrize(
    ("rates", "schedule", "frames", "steps"),
    [
        ((6, 12, 24), "f(6,12,24)m(1,2,4)", 65, (4, 3, 2)),
        ((24,), "f(24)m(1)", 17, (4,)),
        ((12, 24, 12), "f(12,24)m(1,2)", 33, (4, 2)),
        ((6, 8, 12), "f(6,12)m(1,2)", 65, (4, 2)),
        ((1, 6, 12, 24), "f(1,6,12,24)m(1,6,12,24)", 385, (4, 3, 3, 2)),
    ],
)
def test_the_tree_has_the_rates_of_the_run(
    rates: tuple[int, ...], schedule: str, frames: int, steps: tuple[int, ...]
) -> None:
    windows = WindowConfig(rates=rates)
    made, length = tree_for(windows, 17, SAMPLING.steps)
    assert (str(made), length, made.steps) == (schedule, frames, steps)
    assert Fraction(frames - 1, 24 // made.rates[0]) == 16, "each window has 17 frames"


@pytest.mark.parametrize(
    ("windows", "why"),
    [
        (WindowConfig(sizes=((96, 64),), lengths=(153,), max_crop=0.6), "has 609 frames"),
        (WindowConfig(sizes=((96, 64),), lengths=(9,), max_crop=0.0), "the shape of 96x64"),
        (
            WindowConfig(sizes=((88, 64),), token_side=8),
            "88x64, .* width=88: must be a multiple of 16",
        ),
        (WindowConfig(sizes=((96, 64),), token_side=32), "token_side = 32, and videos have tokens"),
    ],
)
def test_why_there_is_no_video(tiny: TinyDataset, windows: WindowConfig, why: str) -> None:
    with pytest.raises(TrainingDataError, match=why):
        HeldOutVideo.find(tiny.manifest, windows, SAMPLING, Path("run"))
