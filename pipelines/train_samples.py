"""A video by a network in training, beside the held-out film that it was given a frame of.

The first frame and the words of a held-out sample go through the tree, coarse to fine, as
`tempo generate` has it; a contact sheet shows what came out above what really followed. One video
tells what no loss does (whether the scene is there, and moves); it proves nothing.
"""

import dataclasses
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from curation.unfinished import replacing
from curation.video.encode import FilmWriter
from model.generation import Segment, TreeGenerator
from model.request import SIDE_MULTIPLE, Request, check_sides
from model.sampling import LevelSampling, Sampling
from model.schedule import TOP_RATE, Schedule
from model.tree import plan_tree
from pipelines.pictures import ContactSheet, to_pictures, to_tensor
from training.errors import TrainingDataError
from training.examples import caption_of, decode_window
from training.samples import Samples, StoredSample
from training.trainer import RunJob
from training.validation import VideoSampling
from training.windows import WindowConfig, size_for

U8 = npt.NDArray[np.uint8]
_FOLDER = "samples"
_MARGIN = 18


def sheet_of(folder: Path, step: int) -> Path:
    """The contact sheet of a run's video after so many steps; the video has its name."""
    return folder / _FOLDER / f"step-{step:08d}.png"


def sampler_of(
    job: RunJob, tell: Callable[[str, dict[str, Any]], None] | None
) -> "HeldOutVideo | None":
    """What makes the videos of a run; None where it asks for none, or no film can be shown.

    Args:
        job: the run.
        tell: hears why there are none.
    """
    config = job.config
    if config.validation.every is None or config.validation.videos is None:
        return None
    try:
        sampling = config.validation.sampling
        return HeldOutVideo.find(job.manifest, config.data.windows, sampling, job.folder)
    except TrainingDataError as error:
        if tell is not None:
            tell("say", {"message": f"warning: no videos will be made: {error}"})
        return None


def tree_for(
    windows: WindowConfig, length: int, steps: tuple[int, int, int]
) -> tuple[Schedule, int]:
    """A tree of a run's own rates, each of whose windows has one of its lengths.

    Args:
        windows: of the run.
        length: frames of each window.
        steps: at its first level, between, and at its last.

    Returns:
        It, and the frames at 24 fps of a video by it.
    """
    rates: list[int] = []
    for rate in sorted(set(windows.rates), reverse=True):
        if not rates or rates[-1] % rate == 0:
            rates.append(rate)
    rates.reverse()
    first, between, last = steps
    of_levels = (first, *(between,) * (len(rates) - 2), last)[: len(rates)]
    schedule = Schedule(tuple(rates), tuple(rate // rates[0] for rate in rates), of_levels)
    return schedule, TOP_RATE // rates[0] * (length - 1) + 1


@dataclasses.dataclass(frozen=True)
class HeldOutVideo:
    """The beginning of a held-out film, to be generated after so many steps, again and again.

    Attributes:
        request: what is generated.
        truth: `[n,H,W,3]`, the film's own frames at the rate of the last level.
        folder: of the run.
    """

    request: Request
    truth: U8
    folder: Path

    @classmethod
    def find(
        cls, manifest: str | Path, windows: WindowConfig, sampling: VideoSampling, folder: Path
    ) -> "HeldOutVideo":
        """Choose the first held-out sample that can be shown the longest.

        Args:
            manifest: of the dataset version; path or address.
            windows: of the run; a video has its first size.
            sampling: of the video.
            folder: of the run.

        Raises:
            TrainingDataError: the version has no held-out side, or it is damaged, or none of it is
                long enough and of that shape; or that shape is none of a video's.
        """
        width, height = windows.sizes[0]
        try:
            check_sides(width, height)
        except ValueError as error:
            raise TrainingDataError(
                f"windows.sizes begins with {width}x{height}, the size of the videos: {error}"
            ) from error
        if SIDE_MULTIPLE % windows.token_side:
            raise TrainingDataError(
                f"windows.token_side = {windows.token_side}, and videos have tokens whose side "
                f"divides {SIDE_MULTIPLE} pixels"
            )
        samples = Samples.open(manifest, "val")
        try:
            stored, schedule, frames = _longest(samples, windows, sampling.steps)
        finally:
            samples.close()
        shown = range(0, frames, schedule.strides[-1])
        truth = np.empty((len(shown), height, width, 3), np.uint8)
        decode_window(stored, np.array(shown), truth)
        shots = np.searchsorted([shot.end for shot in stored.shots], shown, side="right")
        request = Request(
            plan=plan_tree(schedule, frames, given=[0]),
            prompt=caption_of(stored.shots, shots),
            height=height,
            width=width,
            given={0: to_tensor(truth[:1])[:, 0]},
            sampling=Sampling((LevelSampling(guidance=1.0),), sampling.solver),
        )
        return cls(request, truth, folder)

    def __call__(self, generator: TreeGenerator, step: int, *, write: bool) -> Path:
        """See `SampleMaker`."""
        segments = generator.generate(self.request)
        sheet = sheet_of(self.folder, step)
        try:
            if write:
                self._write(segments, sheet)
        finally:
            for _ in segments:  # the network runs equally often on all ranks, also if this fails
                pass
        return sheet

    def _write(self, segments: Iterator[Segment], sheet: Path) -> None:
        """Write the video and its sheet.

        Raises:
            OSError, EncodeError: they cannot be written; nothing unfinished is left.
        """
        sheet.parent.mkdir(parents=True, exist_ok=True)
        with replacing(sheet.with_suffix(".mp4")) as unfinished:
            self._encode(segments, unfinished, sheet)

    def _encode(self, segments: Iterator[Segment], video: Path, sheet: Path) -> None:
        rate = self.request.plan.schedule.rates[-1]
        page = ContactSheet(len(self.truth), rate)
        size = self.request.width, self.request.height
        with FilmWriter(video, *size, fps=Fraction(rate)) as writer:
            for segment in segments:
                for picture in to_pictures(segment.frames):
                    page.show(writer.frames, picture)
                    writer.write_rgb(picture)
        page.save(sheet)
        _add_truth(sheet, self.truth, rate)


def _longest(
    samples: Samples, windows: WindowConfig, steps: tuple[int, int, int]
) -> tuple[StoredSample, Schedule, int]:
    """The first sample of the run's shape that is long enough for the longest tree possible."""
    only = dataclasses.replace(windows, sizes=windows.sizes[:1])
    fitting = [
        index
        for index, size in enumerate(
            zip(samples.widths.tolist(), samples.heights.tolist(), strict=True)
        )
        if size_for(*size, only)[1] == 0
    ]
    for length in reversed(windows.usable_lengths):
        schedule, frames = tree_for(windows, length, steps)
        for index in fitting:
            if samples.frame_counts[index] >= frames:
                return samples.read(index), schedule, frames
    width, height = windows.sizes[0]
    raise TrainingDataError(
        f"no held-out sample has {frames} frames and the shape of {width}x{height}; hold out "
        "longer films, or set validation.videos=none"
    )


def _add_truth(sheet: Path, truth: U8, rate: int) -> None:
    """Put the film's own frames under those that were generated."""
    real = ContactSheet(len(truth), rate)
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
