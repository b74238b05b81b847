"""Small videos whose faults are known, and metrics without a file in between."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from curation.video.encode import EncodeSettings, FilmWriter
from evaluation.metrics.clips import cut
from evaluation.metrics.metric import Metric, MetricResult

U8 = npt.NDArray[np.uint8]
FPS = 24


def write(path: Path, frames: U8, fps: int = FPS) -> Path:
    """Code frames `[n,H,W,3]`, all but without loss."""
    settings = EncodeSettings(crf=1, preset="ultrafast")
    with FilmWriter(
        path, frames.shape[2], frames.shape[1], fps=Fraction(fps), settings=settings
    ) as film:
        for frame in frames:
            film.write_rgb(frame)
    return path


def judged(metric: Metric, frames: U8, fps: int = FPS) -> MetricResult:
    """What a metric says of frames that no codec has touched."""
    scoring = metric.begin(Fraction(fps))
    for clip in cut(iter(frames), 2 * fps):
        scoring.take(clip)
    return scoring.finish()


def texture(height: int, width: int, seed: int = 0, grain: int = 8) -> U8:
    """Smooth coloured blobs `[H,W,3]` of about `grain` pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // grain + 2, width // grain + 2, 3), np.uint8)
    picture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return picture.astype(np.uint8, copy=False)


def still(frames: int, height: int = 96, width: int = 128) -> U8:
    """One picture, again and again."""
    return np.repeat(texture(height, width)[None], frames, axis=0)


def pan(frames: int, step: float, height: int = 96, width: int = 128) -> U8:
    """A window that moves `step` pixels a frame over a large picture, and back at its end."""
    wide = texture(height, 4 * width, grain=16)
    room = 3 * width
    starts = [round(abs((k * step + room) % (2 * room) - room)) for k in range(frames)]
    return np.stack([wide[:, start : start + width] for start in starts])


def drifting(frames: int, height: int = 96, width: int = 128) -> U8:
    """Turns, ever so slowly, from one picture into another."""
    first, last = texture(height, width, 1), texture(height, width, 2)
    shares = np.linspace(0, 1, frames)[:, None, None, None]
    return np.rint((1 - shares) * first + shares * last).astype(np.uint8)


def shuffled(frames: U8, seed: int = 0) -> U8:
    """The same frames in another order."""
    return frames[np.random.default_rng(seed).permutation(len(frames))]


def clip_spans(frames: int, length: int) -> Sequence[tuple[int, int]]:
    """Where clips start and end, by the definition alone."""
    if frames <= length:
        return [(0, frames)]
    whole = [(start, start + length) for start in range(0, frames - length + 1, length)]
    return whole if frames % length == 0 else [*whole, (frames - length, frames)]
