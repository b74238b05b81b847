"""What the columns of `clips` and `scores` mean, in the words of the page.

A column that is not listed here is shown all the same, under its own name.
"""

import dataclasses
import functools
import math


@dataclasses.dataclass(frozen=True, slots=True)
class Meaning:
    """How a measurement is called and explained."""

    label: str
    unit: str = ""
    about: str = ""
    low: str = ""
    """What a clip below the threshold is."""
    high: str = ""
    most: float = math.inf
    """The greatest value that there can be."""


_share = functools.partial(Meaning, most=1.0)

_MEANINGS = {
    "seconds": Meaning("Length", "s", "How long the clip is.", "Too short", "Too long"),
    "source_fps": Meaning(
        "Source frame rate",
        "fps",
        "Below 24, frames have to be repeated.",
        "Too few frames a second",
    ),
    "short_side": Meaning(
        "Short side", "px", "Smaller side of the picture, borders cropped.", "Too small"
    ),
    "clarity_mean": Meaning(
        "Clarity",
        "grey²",
        "Variance of the Laplacian: low is soft, very high is noise.",
        "Too soft",
        "Too noisy",
    ),
    "clarity_min": Meaning("Clarity, softest frame", "grey²"),
    "clarity_p10": Meaning("Clarity, 10th percentile", "grey²"),
    "luma_mean": Meaning(
        "Brightness",
        "of 255",
        "Mean luma: low is dark, high is blown out.",
        "Too dark",
        "Too bright",
    ),
    "luma_std": Meaning(
        "Contrast", "of 255", "Deviation of luma: near zero is a blank picture.", "Too flat"
    ),
    "shadows_clipped": _share(
        "Clipped shadows", "", "Share of pixels that are fully black.", "", "Too much pure black"
    ),
    "highlights_clipped": _share(
        "Clipped highlights", "", "Share of pixels that are fully white.", "", "Too much pure white"
    ),
    "motion_magnitude": Meaning(
        "Motion",
        "diag/s",
        "Mean optical flow, in picture diagonals per second.",
        "Too little motion",
        "Too much motion",
    ),
    "motion_static": _share(
        "Still picture", "", "Share of the picture that hardly moves.", "", "Picture stands still"
    ),
    "motion_coherence": _share(
        "Motion coherence", "", "Share of the change that motion explains.", "Motion not coherent"
    ),
    "motion_distortion": _share(
        "Distortion",
        "",
        "Share of pixels whose motion does not lead back: tears, whip pans.",
        "",
        "Too distorted",
    ),
    "duplicated_share": _share(
        "Repeated frames",
        "",
        "Share of 24-fps frames that only repeat the one before.",
        "",
        "Too many repeated frames",
    ),
    "dropped_share": _share("Dropped frames", "", "Share of source frames that 24 fps leaves out."),
    "camera_pan": Meaning("Camera pan", "widths/s"),
    "camera_tilt": Meaning("Camera tilt", "heights/s"),
    "camera_zoom": Meaning("Camera zoom", "ln/s"),
    "camera_roll": Meaning("Camera roll", "°/s"),
    "aesthetic": Meaning(
        "Aesthetic (LAION)", "", "LAION's aesthetic model, about 1 to 10.", "Not pretty enough"
    ),
    "technical": Meaning(
        "Technical score", "", "Colour, contrast, exposure and sharpness, 0 to 10.", "Too poor"
    ),
}


def meaning(column: str) -> Meaning:
    """The words for a column."""
    return _MEANINGS.get(column) or Meaning(column.replace("_", " ").capitalize())


_REASONS = {
    "duplicate": "Near-duplicate of a kept clip",
    "balance": "Over its cluster's cap",
    "not_packed": "Kept by the policy, in no sample",
    "licence": "Licence not allowed",
}


def reason_words(reason: str, columns: dict[str, str]) -> str:
    """A reason code in words: ``motion_low`` is "Too little motion".

    Args:
        reason: the code.
        columns: threshold -> column that it is held against.
    """
    name, _, kind = reason.rpartition("_")
    if name not in columns or kind not in ("low", "high", "missing"):
        return _REASONS.get(reason) or reason.replace("_", " ").capitalize()
    words = meaning(columns[name])
    if kind == "missing":
        return f"{words.label} not measured"
    return (words.low if kind == "low" else words.high) or f"{words.label} too {kind}"


def limit_words(column: str, end: str, bound: float) -> str:
    """A threshold in words: "Length at least 2 s"."""
    words = meaning(column)
    least = "at least" if end == "min" else "at most"
    return f"{words.label} {least} {bound:g} {words.unit}".rstrip()
