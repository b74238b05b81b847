"""Motion: how much of a clip moves, how far, how orderly, and what the camera does (Appendix B).

Dense optical flow between two frames a fixed time apart, at a fixed working size, so that films of
any size and frame rate can be compared. The trade-off is speed against fine motion: at 256 pixels
a pair costs a few milliseconds, and what moves less than a tenth of a pixel (0.4 % of the diagonal
per second at a gap of 1/12 s) drowns in noise.

Scan half: `MotionMeter.measure`, a pair of pictures → `MotionSample`. Derive half: `clip_motion`.

Let f(x) be the flow in working pixels from picture I₀ to I₁, b(x) the flow back, and v = f divided
by diagonal and gap: fractions of the diagonal per second. Means are over the picture; in coherence
and distortion, over the pixels that stay inside it.

* magnitude = mean |v|, from 0. Lengths are averaged, never components, which would cancel.
* static = share of pixels with |v| < `STILL_SPEED`, 0 to 1.
* coherence = 1 - mean s(I₁(x+f) - I₀) / (mean s(I₁ - I₀) + ε), clipped to 0…1: the share of the
  change between the pictures that moving pixels explain; s(d) = max(|d| - 2, 0) grey levels leaves
  out noise, ε = 0.5. A pan is near 1, a still picture is 1 (nothing is left to explain); noise,
  flicker, dissolves and pictures that have nothing to do with each other are near 0. How parallel
  the vectors are would say less: DIS finds smooth flow between any two pictures, even noise.
* distortion = share of pixels whose flow is not undone by the flow back from where it leads:
  |f + b|² > 0.01 (|f|² + |b|²) + 0.5 px² (the usual test for occlusion: Sundaram, Brox, Keutzer,
  ECCV 2010), 0 to 1. Torn, jumping and boiling pictures are high.
* pan, tilt, zoom, roll = the camera's motion, from the similarity that most textured blocks follow
  (RANSAC): widths per second to the right, heights per second upwards, d ln(scale) per second
  inwards, degrees per second clockwise. The picture moves the other way. A face that fills the
  frame is taken for the scene: flow alone cannot tell.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

NO_PAIR = "no_pair_inside_clip"
NO_CAMERA = "no_dominant_motion"

WORKING_LONG_SIDE = 256
WORKING_SHORT_SIDE_MIN = 32  # below it DIS has too few patches to search with
STILL_SPEED = 0.005
"""Fraction of the diagonal per second; what moves slower counts as still."""
_NOISE_LEVELS = 2  # grey levels
_CHANGE_FLOOR = 0.5  # grey levels
_BLOCK = 8  # pixels of the blocks that vote for the camera's motion
_BLOCKS_MIN = 12
_TEXTURE_MIN = 4.0  # mean gradient of a block, grey levels per pixel; flat blocks have no motion
_FOLLOWS_WITHIN = 0.5  # working pixels
_CAMERA_SHARE_MIN = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class MotionSample:
    """Raw numbers of one pair of frames; definitions and units stand in the module's docstring."""

    magnitude: float
    static: float
    coherence: float
    distortion: float
    camera_share: float
    """Share of the textured blocks that follow the camera's motion; 0 where there are too few."""
    pan: float | None
    tilt: float | None
    zoom: float | None
    roll: float | None


class _Camera(NamedTuple):
    share: float
    pan: float | None
    tilt: float | None
    zoom: float | None
    roll: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class ClipMotion:
    """A clip's motion: means over its pairs, named as in `curation.records.ClipRow`."""

    motion_magnitude: float
    motion_static: float
    motion_coherence: float
    motion_distortion: float
    camera_pan: float | None
    """Net motion: a camera that swings to and fro pans by 0, and shows in the magnitude.

    The four are None (`NO_CAMERA`) where fewer than half of the pairs have a dominant motion.
    """
    camera_tilt: float | None
    camera_zoom: float | None
    camera_roll: float | None


class MotionMeter:
    """Measures the motion between two pictures. The same pictures give the same bytes.

    DIS's presets are either too coarse or too dear. Held against a far finer search (finest scale
    0, 50 iterations, 20 of refinement) on 180 pairs of the development films, the magnitude of the
    ultrafast one is off by 16 % in the median and by a factor of 2.1 in one pair of ten (0.5 ms),
    the medium one by 6 % and 1.2 (4.0 ms), these settings by 9 % and 1.4 (1.9 ms).
    """

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._flow.setFinestScale(1)
        self._flow.setPatchStride(5)
        self._flow.setGradientDescentIterations(12)
        self._flow.setVariationalRefinementIterations(2)

    def measure(self, before: U8, after: U8, gap_seconds: float) -> MotionSample:
        """Measure one pair.

        Args:
            before: luma [h, w], full-range 8 bit, square pixels.
            after: the later picture, of the same size.
            gap_seconds: time between the two; positive.
        """
        assert before.shape == after.shape
        assert gap_seconds > 0
        full_height, full_width = before.shape
        width, height = working_size(full_width, full_height)
        before, after = (_resized(picture, (width, height)) for picture in (before, after))
        forward, backward = self._between(before, after), self._between(after, before)
        # Working pixels -> pixels of the picture itself -> fractions of its diagonal per second.
        stretch = np.array([full_width / width, full_height / height], np.float32)
        per_second = stretch / np.float32(math.hypot(full_width, full_height) * gap_seconds)
        fx, fy = cv2.split(forward)
        speed = _length(fx * per_second[0], fy * per_second[1])
        target_x = fx + np.arange(width, dtype=np.float32)
        target_y = fy + np.arange(height, dtype=np.float32)[:, None]
        inside = _up_to(target_x, width - 1) & _up_to(target_y, height - 1)
        arrived = cv2.remap(after, target_x, target_y, cv2.INTER_LINEAR)
        way_back = cv2.remap(backward, target_x, target_y, cv2.INTER_LINEAR)
        camera = _camera(before, forward, stretch / stretch[0], gap_seconds)
        return MotionSample(
            magnitude=float(speed.mean(dtype=np.float64)),
            static=float(np.mean(speed < STILL_SPEED)),
            coherence=_coherence(before, after, cast("U8", arrived), inside),
            distortion=_distortion(forward, cast("F32", way_back), inside),
            camera_share=camera.share,
            pan=camera.pan,
            tilt=camera.tilt,
            zoom=camera.zoom,
            roll=camera.roll,
        )

    def _between(self, first: U8, second: U8) -> F32:
        """Flow [h, w, 2] in working pixels. The array passed in is where the search starts."""
        start = np.zeros((*first.shape, 2), np.float32)
        return cast("F32", self._flow.calc(first, second, start))


def working_size(width: int, height: int) -> tuple[int, int]:
    """Size at which flow is computed: long side `WORKING_LONG_SIDE`, the aspect as near as it goes.

    Smaller pictures are enlarged: thresholds in working pixels then mean the same in every film.
    """
    scale = WORKING_LONG_SIDE / max(width, height)
    return (
        max(WORKING_SHORT_SIDE_MIN, round(width * scale)),
        max(WORKING_SHORT_SIDE_MIN, round(height * scale)),
    )


def clip_motion(samples: Mapping[str, F64], start_frame: int, end_frame: int) -> ClipMotion | None:
    """A clip's motion from the film's samples.

    Args:
        samples: arrays of equal length by name: ``frame`` and ``pair_frame`` (the frames of a
            pair; NaN where there is no pair) and the fields of `MotionSample` (NaN for None).
        start_frame: first frame of the clip.
        end_frame: frame after its last.

    Returns:
        None (`NO_PAIR`) when no pair has both its frames inside the clip.
    """
    inside = (samples["frame"] >= start_frame) & (samples["pair_frame"] < end_frame)
    if not inside.any():
        return None
    has_camera = inside & (samples["camera_share"] >= _CAMERA_SHARE_MIN)
    enough = 2 * np.count_nonzero(has_camera) >= np.count_nonzero(inside)

    def camera(name: str) -> float | None:
        return float(samples[name][has_camera].mean()) if enough else None

    return ClipMotion(
        motion_magnitude=float(samples["magnitude"][inside].mean()),
        motion_static=float(samples["static"][inside].mean()),
        motion_coherence=float(samples["coherence"][inside].mean()),
        motion_distortion=float(samples["distortion"][inside].mean()),
        camera_pan=camera("pan"),
        camera_tilt=camera("tilt"),
        camera_zoom=camera("zoom"),
        camera_roll=camera("roll"),
    )


def _resized(picture: U8, size: tuple[int, int]) -> U8:
    shrinks = size[0] <= picture.shape[1]
    filter_ = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cast("U8", cv2.resize(picture, size, interpolation=filter_))


def _up_to(values: MatLike, last: float) -> U8:
    """Mask (255 and 0) of values in [0, last]."""
    return cast("U8", cv2.inRange(values, 0.0, last))


def _coherence(before: U8, after: U8, arrived: U8, inside: U8) -> float:
    """Share of the change that is gone in `arrived`, the second picture moved back by the flow."""
    if not inside.any():
        return 0.0  # everything left the picture: nothing is explained
    changed, unexplained = (
        cv2.mean(np.maximum(cv2.absdiff(picture, before), _NOISE_LEVELS) - _NOISE_LEVELS, inside)[0]
        for picture in (after, arrived)
    )
    return max(0.0, 1.0 - unexplained / (changed + _CHANGE_FLOOR))


def _distortion(forward: F32, way_back: F32, inside: U8) -> float:
    """Share of pixels that forward and backward flow do not bring home."""
    within = np.count_nonzero(inside)
    if within == 0:
        return 1.0  # everything left the picture: nothing can be followed
    there, back, rest = (
        np.square(vectors[..., 0]) + np.square(vectors[..., 1])
        for vectors in (forward, way_back, forward + way_back)
    )
    lost = rest > np.float32(0.01) * (there + back) + np.float32(0.5)
    return float(np.count_nonzero(lost & (inside > 0)) / within)


def _length(x: MatLike, y: MatLike) -> F32:
    # cv2.magnitude rounds differently from run to run, with where in memory its arrays lie.
    return cast("F32", np.sqrt(x * x + y * y))


def _camera(picture: U8, flow: F32, pixel: F32, gap: float) -> _Camera:
    """Fit the similarity that most textured blocks follow.

    Args:
        picture: the first picture, working size.
        flow: from it to the second, working pixels.
        pixel: width and height of a working pixel, so that rotations stay rotations.
        gap: seconds.
    """
    height, width = picture.shape
    columns, rows = width // _BLOCK, height // _BLOCK
    kept = (slice(rows * _BLOCK), slice(columns * _BLOCK))
    size = (columns, rows)
    gradient = _length(
        cv2.Sobel(picture[kept], cv2.CV_32F, 1, 0, scale=1 / 8),
        cv2.Sobel(picture[kept], cv2.CV_32F, 0, 1, scale=1 / 8),
    )
    textured = cv2.resize(gradient, size, interpolation=cv2.INTER_AREA) >= _TEXTURE_MIN
    if np.count_nonzero(textured) < _BLOCKS_MIN:
        return _Camera(0.0, None, None, None, None)
    shifts = cv2.resize(flow[kept], size, interpolation=cv2.INTER_AREA)[textured] * pixel
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1)[textured]
    points = ((grid + 0.5) * _BLOCK - np.array([width, height]) / 2) * pixel
    found, follows = cv2.estimateAffinePartial2D(
        points, points + shifts, method=cv2.RANSAC, ransacReprojThreshold=_FOLLOWS_WITHIN
    )
    fit = cast("F64 | None", found)  # OpenCV's annotations forget the failure
    if fit is None:
        return _Camera(0.0, None, None, None, None)
    (a, _, right), (b, _, down) = fit.tolist()
    extent = np.array([width, height]) * pixel
    return _Camera(
        share=float(follows.mean()),
        pan=(0.0 - right) / float(extent[0]) / gap,
        tilt=down / float(extent[1]) / gap,
        zoom=math.log(math.hypot(a, b)) / gap,
        roll=(0.0 - math.degrees(math.atan2(b, a))) / gap,
    )
