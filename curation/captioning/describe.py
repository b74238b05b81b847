"""Captions without a model: what the measurements say, in plain words.

Exposure, colours, camera motion and pace; nothing about the content, of which measurements know
nothing. Every such caption is labelled by its captioner's name and the source "measurements", so
that it is never taken for a model's.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from curation.captioning.words import Answer, CaptionRequest
from curation.components import fingerprint
from curation.records import ClipRow
from curation.traces import Traces

_DARK, _DIM, _BRIGHT = 45.0, 85.0, 170.0
_SOFT, _CRISP = 60.0, 600.0
_SLOW, _BRISK, _FAST = 0.02, 0.10, 0.30  # fractions of the diagonal per second
_CAMERA_MOVE = 0.02  # fractions of the picture per second
_ZOOM = 0.03  # per second
_GREY_SATURATION = 28
_COLOUR_SHARE = 0.18
_HUES = (  # upper end on OpenCV's 0..179 circle, name
    (8, "red"), (20, "orange"), (33, "yellow"), (80, "green"), (100, "cyan"),
    (130, "blue"), (150, "violet"), (170, "pink"), (180, "red"),
)  # fmt: skip


class DescribeCaptioner:
    """Describes a clip from its measurements and the colours of its evidence frames."""

    name = "describe"

    def __init__(self, measured_by: str) -> None:
        """Describe what one derivation has measured.

        Args:
            measured_by: its fingerprint. Other measurements of the same clip make other words.
        """
        self.fingerprint = fingerprint("captioner:describe", {"derive": measured_by})

    def caption(self, requests: Sequence[CaptionRequest]) -> list[Answer]:
        """Describe clips; every clip can be described."""
        return [self._described(request) for request in requests]

    def _described(self, request: CaptionRequest) -> Answer:
        clip = request.clip
        parts = [
            " ".join(["A", *filter(None, (_light(clip), _sharpness(clip))), _shape(clip), "shot"]),
            _colours(Traces(request.traces), clip),
            _camera(clip),
            _pace(clip),
        ]
        caption = ", ".join(part for part in parts if part) + "."
        return Answer(clip.clip_id, self.name, self.fingerprint, caption, None, "measurements")


def _light(clip: ClipRow) -> str:
    luma = clip.luma_mean
    if luma is None:
        return ""
    if luma < _DARK:
        return "dark"
    if luma < _DIM:
        return "dim"
    return "bright" if luma > _BRIGHT else "well-lit"


def _sharpness(clip: ClipRow) -> str:
    if clip.clarity_mean is None:
        return ""
    if clip.clarity_mean < _SOFT:
        return "soft"
    return "crisp" if clip.clarity_mean > _CRISP else "clear"


def _shape(clip: ClipRow) -> str:
    if clip.width > clip.height:
        return "landscape"
    return "portrait" if clip.width < clip.height else "square"


def _colours(traces: Traces, clip: ClipRow) -> str:
    evidence = traces.evidence(clip.start_frame, clip.end_frame)["jpeg"].to_pylist()
    if not evidence:
        return ""
    picture = cv2.imdecode(np.frombuffer(evidence[len(evidence) // 2], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None  # we encoded it
    names = _dominant(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2HSV), np.uint8))
    return f"in {' and '.join(names)}" if names else "in muted greys"


def _dominant(hsv: "npt.NDArray[np.uint8]") -> list[str]:
    """Up to two colour names that cover much of the picture, the larger first."""
    vivid = hsv[..., 1] >= _GREY_SATURATION
    hues = hsv[..., 0][vivid]
    shares: dict[str, float] = {}
    low = 0
    for high, name in _HUES:
        inside = float(((hues >= low) & (hues < high)).sum()) / vivid.size
        shares[name] = shares.get(name, 0.0) + inside
        low = high
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return [name for name, share in ranked[:2] if share >= _COLOUR_SHARE]


def _camera(clip: ClipRow) -> str:
    """The strongest global movement; signs as in `curation.measure.motion`."""
    moves = [
        (abs(value or 0.0) / floor, words[(value or 0.0) > 0])
        for value, floor, words in (
            (clip.camera_pan, _CAMERA_MOVE, ("the camera pans left", "the camera pans right")),
            (clip.camera_tilt, _CAMERA_MOVE, ("the camera tilts up", "the camera tilts down")),
            (clip.camera_zoom, _ZOOM, ("the camera pulls out", "the camera pushes in")),
        )
    ]
    strength, words = max(moves)
    return words if strength >= 1.0 else "the camera holds still"


def _pace(clip: ClipRow) -> str:
    speed = clip.motion_magnitude
    if speed is None:
        return ""
    if speed < _SLOW:
        return "with hardly any movement"
    if speed < _BRISK:
        return "with gentle movement"
    return "with fast movement" if speed > _FAST else "with brisk movement"
