"""A video by a network in training: from a held-out film's first frame, beside what followed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curation.video.packed import PackedVideo
from model import presets
from model.dit import MultiMaskDiT
from model.generator_folder import CodecSpec, GeneratorSpec, TextSpec, save_generator
from pipelines.job import Silence
from pipelines.train_samples import SampleRequest, sample_held_out
from tests.training.tiny_dataset import TinyDataset, make
from training.windows import WindowConfig

FRAMES = 33
WINDOWS = WindowConfig(sizes=((96, 64),), lengths=(9,), min_seconds=0.0, max_crop=0.6)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> TinyDataset:
    return make(tmp_path_factory.mktemp("version"))


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("generator")
    size = presets.tiny()
    spec = GeneratorSpec(CodecSpec("dct"), TextSpec("bytes", length=8, width=size.text_dim))
    save_generator(folder, MultiMaskDiT.of(size), spec)
    return folder


def request(version: TinyDataset, generator: Path, out: Path, frames: int) -> SampleRequest:
    return SampleRequest(
        generator, version.manifest, WINDOWS, out, frames, "f(6,12,24)m(1,2,4)", steps=(2, 2, 2)
    )


def test_a_sheet_shows_what_came_out_above_what_followed(
    version: TinyDataset, generator: Path, tmp_path: Path
) -> None:
    out = tmp_path / "samples" / "step.mp4"
    sheet = sample_held_out(request(version, generator, out, FRAMES), Silence())
    assert sheet is not None and sheet.parent == out.parent
    assert len(PackedVideo(out.read_bytes())) == FRAMES
    page = np.asarray(Image.open(sheet)).astype(int)
    # Four rows of six thumbnails of 96 x 64, twice, each under its title.
    assert page.shape == (2 * (18 + 4 * 64), 6 * 96, 3)
    first = np.asarray(Image.open(out.with_suffix(".first.png"))).astype(int)
    real = page[18 + 256 + 18 :][:64, :96]
    assert np.abs(real - first)[16:].mean() < 1  # the top has the time written on it
    assert not list(out.parent.glob("*.truth.png"))


def test_without_a_film_long_enough_there_is_no_sheet(
    version: TinyDataset, generator: Path, tmp_path: Path
) -> None:
    asked = request(version, generator, tmp_path / "step.mp4", 1009)
    assert sample_held_out(asked, Silence()) is None
    assert not list(tmp_path.iterdir())


def test_a_video_of_one_frame_is_refused(version: TinyDataset, generator: Path) -> None:
    with pytest.raises(ValueError, match="frames = 1"):
        request(version, generator, Path("step.mp4"), 1)
