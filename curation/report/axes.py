"""Histograms whose bins suit what they count.

Heavy tails (sharpness, motion) get a logarithmic axis, so that a threshold near the low end can be
seen and moved. A log axis cannot reach 0: smaller values are counted in its first bin.
"""

import math

import numpy as np
import numpy.typing as npt

from curation.report.document import Histogram

BINS = 44
_HEAVY_TAIL = 12.0  # ratio of the 99th percentile to the median from which a log axis reads better
_MAX_DECADES = 4.0

Floats = npt.NDArray[np.float32]


def edges_of(
    values: Floats, bounds: tuple[float, ...] = (), bins: int = BINS, most: float = math.inf
) -> Histogram:
    """An empty histogram whose edges fit finite values and show some bounds.

    Args:
        values: [n] without NaN.
        bounds: thresholds that should lie inside.
        bins: how many.
        most: the greatest value that there can be, such as 1 of a share.
    """
    shown = values if values.size else np.asarray(bounds or (0.0, 1.0), np.float32)
    if _heavy(shown):
        scale, edges = "log", _log_edges(shown, bounds, bins, most)
    else:
        scale, edges = "linear", _linear_edges(shown, bounds, bins, most)
    return Histogram(scale, tuple(float(edge) for edge in edges), {})


def counted(axis: Histogram, series: dict[str, Floats]) -> Histogram:
    """The histogram with values counted; NaN is left out."""
    counts = {name: _count(axis, values) for name, values in series.items()}
    return Histogram(axis.scale, axis.edges, counts)


def whole_edges(values: Floats, bins: int = 24) -> Histogram:
    """An empty histogram for counts: every edge is a whole number."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    step = -(-(high - low + 1) // bins)
    edges = range(low, high + step + 1, step)
    return Histogram("linear", tuple(float(edge) for edge in edges), {})


def places(axis: Histogram, values: Floats) -> npt.NDArray[np.float64]:
    """[n] where values lie on a histogram's axis, 0 to 1; NaN stays NaN."""
    low, high = axis.edges[0], axis.edges[-1]
    if axis.scale == "log":
        shares = np.log(np.maximum(values, low) / low) / np.log(high / low)
    else:
        shares = (values - low) / (high - low)
    return np.asarray(shares, np.float64).clip(0.0, 1.0)


def _count(axis: Histogram, values: Floats) -> tuple[int, ...]:
    finite = values[np.isfinite(values)]
    inner = np.asarray(axis.edges[1:-1], np.float32)
    bins = np.searchsorted(inner, finite, side="right")
    return tuple(np.bincount(bins, minlength=len(axis.edges) - 1).tolist())


def _heavy(values: Floats) -> bool:
    if float(values.min()) < 0.0:
        return False
    middle, high = np.quantile(values[values > 0.0], (0.5, 0.99)) if values.max() > 0 else (1, 1)
    return bool(high > _HEAVY_TAIL * middle)


def _log_edges(
    values: Floats, bounds: tuple[float, ...], bins: int, most: float
) -> npt.NDArray[np.float64]:
    positive = values[values > 0.0].astype(np.float64)
    inside = [bound for bound in bounds if bound > 0.0]
    high = max([float(positive.max()), *(min(bound * 1.25, most) for bound in inside)])
    shown = max(float(np.quantile(positive, 0.01)) / 1.25, high / 10**_MAX_DECADES)
    low = min([shown, *(bound / 1.25 for bound in inside)])
    return np.geomspace(low, high, bins + 1)


def _linear_edges(
    values: Floats, bounds: tuple[float, ...], bins: int, most: float
) -> npt.NDArray[np.float64]:
    low, high = float(values.min()), float(values.max())
    if bounds:  # a handle needs room on both sides
        room = 0.04 * (max(high, *bounds) - min(low, *bounds))
        low = min(low, *(bound - room for bound in bounds))
        high = max(high, *(min(bound + room, most) for bound in bounds))
        if values.min() >= 0.0:  # what cannot be negative has no room there
            low = max(0.0, low)
    if high <= low:
        low, high = low - 0.5, min(high + 0.5, most)
    if 0.0 <= low < 0.25 * high:
        low = 0.0
    return np.linspace(low, high, bins + 1)
