"""A video by a newly trained network, beside the held-out film that it was given a frame of.

The first frame and the words of a held-out sample go through the tree, coarse to fine, as
`tempo generate` has it; a contact sheet shows what came out above what really followed. One video
tells what no loss does (whether the scene is there, and moves); it proves nothing.
"""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from curation.video.packed import PackedVideo
from model.schedule import TOP_RATE, Schedule
from pipelines.generate import produce
from pipelines.generate_job import GenerateJob
from pipelines.job import Progress
from pipelines.pictures import ContactSheet
from training.examples import caption_of, fit
from training.samples import Samples, StoredSample
from training.windows import WindowConfig, size_for

U8 = npt.NDArray[np.uint8]
_MARGIN = 18


@dataclasses.dataclass(frozen=True, slots=True)
class SampleRequest:
    """What is sampled.

    Attributes:
        checkpoint: generator folder of the network.
        manifest: of the dataset version; path or address.
        windows: of the run; a video has its first size.
        out: the video, ``.mp4``; its sheet is named after it.
        frames: at 24 fps.
        schedule: of the tree.
        steps: of the solver, for each level.
        guidance: of all levels.
        seed: of the noise.
    """

    checkpoint: Path
    manifest: str | Path
    windows: WindowConfig
    out: Path
    frames: int = 65
    schedule: str = "f(6,12,24)m(1,2,4)"
    steps: tuple[int, ...] = (20, 15, 10)
    guidance: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        Schedule.parse(self.schedule, steps=self.steps)
        if self.frames < 2:
            raise ValueError(f"frames = {self.frames}: give at least 2, one is given")


def sample_held_out(request: SampleRequest, progress: Progress) -> Path | None:
    """Generate, and put what came out beside the truth.

    Returns:
        The contact sheet; None where no held-out sample is long enough and of that shape.

    Raises:
        TrainingDataError: the version has no held-out side, or it is damaged.
        CheckpointError: the checkpoint is no generator.
    """
    width, height = request.windows.sizes[0]
    stored = _sample(request)
    if stored is None:
        return None
    shown = range(request.frames)
    truth = np.empty((len(shown), height, width, 3), np.uint8)
    fit(PackedVideo(stored.mp4).frames(shown), truth)
    shots = np.searchsorted([shot.end for shot in stored.shots], shown, side="right")
    request.out.parent.mkdir(parents=True, exist_ok=True)
    first = request.out.with_suffix(".first.png")
    Image.fromarray(truth[0]).save(first)
    job = GenerateJob(
        checkpoint=request.checkpoint,
        out=request.out,
        prompt=caption_of(stored.shots, shots),
        width=width,
        height=height,
        frames=request.frames,
        schedule=request.schedule,
        steps=request.steps,
        guidance=(request.guidance,),
        seed=request.seed,
        first=first,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    made = produce(job, progress)
    assert made is not None
    _add_truth(made.sheet, truth)
    return made.sheet


def _sample(request: SampleRequest) -> StoredSample | None:
    """The first held-out sample that lasts so long and fits the size."""
    samples = Samples.open(request.manifest, "val")
    only = dataclasses.replace(request.windows, sizes=request.windows.sizes[:1])
    try:
        for index, frames in enumerate(samples.frame_counts.tolist()):
            size = int(samples.widths[index]), int(samples.heights[index])
            if frames >= request.frames and size_for(*size, only)[1] == 0:
                return samples.read(index)
    finally:
        samples.close()
    return None


def _add_truth(sheet: Path, truth: U8) -> None:
    """Put the film's own frames under those that were generated."""
    real = ContactSheet(len(truth), TOP_RATE)
    for number, picture in enumerate(truth):
        real.show(number, picture)
    below = sheet.with_suffix(".truth.png")
    real.save(below)
    with Image.open(sheet) as generated, Image.open(below) as followed:
        width, height = generated.size
        page = Image.new("RGB", (width, 2 * (_MARGIN + height)))
        draw = ImageDraw.Draw(page)
        for number, (title, picture) in enumerate(
            (("generated from the first frame", generated), ("the held-out film", followed))
        ):
            top = number * (_MARGIN + height)
            draw.text((4, top + 3), title, fill="white")
            page.paste(picture, (0, top + _MARGIN))
    page.save(sheet)
    below.unlink()
