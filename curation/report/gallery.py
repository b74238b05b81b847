"""Which clips are shown: best, worst, borderline, some of every reason, and a random draw.

Pure: pictures are fetched for what is chosen here. Kept and rejected clips take turns, so that
neither crowds the other out when there are more clips than the page can hold.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from curation.report.axes import edges_of, places
from curation.report.funnel import left_out
from curation.report.meanings import meaning
from curation.report.tables import VersionTables

MAX_CLIPS = 360
_PER_BORDER = 4
_PER_REASON = 12
_BORDER = 0.03
"""A clip is borderline when it lies this close to a threshold, as a share of the axis on which the
what-if draws them."""

Indices = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """A clip of the gallery."""

    index: int
    """Its row in the version's clips."""
    borderline: tuple[str, ...]
    """Threshold ends (``clarity.min``) that it lies close to."""


def shown(version: VersionTables, first: list[int], limit: int = MAX_CLIPS) -> list[Shown]:
    """Choose the clips of the gallery.

    Args:
        version: the version.
        first: rows that must be there (clips of multi-shot samples, of look-alike pairs).
        limit: at most this many.

    Returns:
        In the order of the clips' ids.
    """
    borders = borderline(version)
    order = _interleaved([iter(first), *_groups(version, borders)])
    chosen = sorted(itertools.islice(order, limit), key=_id_of(version))
    return [
        Shown(index, tuple(name for name, near in borders.items() if index in near))
        for index in chosen
    ]


def borderline(version: VersionTables) -> dict[str, dict[int, float]]:
    """Threshold end -> row -> how far the clip is from it, as a share of the axis."""
    found: dict[str, dict[int, float]] = {}
    for name, column in version.thresholds.items():
        bounds = version.bounds(name)
        values = version.measured(column)
        axis = edges_of(
            values[np.isfinite(values)],
            tuple(end for end in (bounds.min, bounds.max) if end is not None),
            most=meaning(column).most,
        )
        for end, bound in (("min", bounds.min), ("max", bounds.max)):
            if bound is not None:
                gap = np.abs(places(axis, values) - places(axis, np.asarray([bound], np.float32)))
                near = np.flatnonzero(gap <= _BORDER)
                found[f"{name}.{end}"] = {int(row): float(gap[row]) for row in near}
    return found


def _groups(
    version: VersionTables, borders: dict[str, dict[int, float]]
) -> Iterator[Iterator[int]]:
    """Each group gives its most telling clips first."""
    kept = version.selection.kept
    for near in borders.values():
        ordered = sorted(near, key=lambda row: (near[row], row))
        for side in (True, False):
            yield iter([row for row in ordered if kept[row] == side][:_PER_BORDER])
    for number in range(len(version.selection.rules)):
        broken = np.flatnonzero(version.selection.broken_by(number))
        yield itertools.islice(_drawn(version, broken), _PER_REASON)
    for mask in left_out(version).values():
        yield itertools.islice(_drawn(version, np.flatnonzero(mask)), _PER_REASON)
    quality = _quality(version)
    packed = np.flatnonzero(version.packed)
    ranked = packed[np.argsort(quality[packed], kind="stable")]
    yield iter(ranked[:_PER_REASON].tolist())
    yield iter(ranked[::-1][:_PER_REASON].tolist())
    yield _drawn(version, packed)
    yield _drawn(version, np.flatnonzero(~version.packed))


def _quality(version: VersionTables) -> npt.NDArray[np.float32]:
    """What best and worst mean: the aesthetic score where there is one, else clarity."""
    for name in ("aesthetic", "technical", "clarity"):
        if name in version.thresholds:
            values = version.measured(version.thresholds[name])
            if np.isfinite(values).any():
                return np.nan_to_num(values, nan=-np.inf)
    return np.zeros(version.clips.num_rows, np.float32)


def _drawn(version: VersionTables, rows: Indices) -> Iterator[int]:
    """Rows in the order of their clip ids, which are hashes: a random draw, always the same."""
    return iter(sorted(rows.tolist(), key=_id_of(version)))


def _id_of(version: VersionTables) -> Callable[[int], str]:
    ids: list[str] = version.clips["clip_id"].to_pylist()
    return ids.__getitem__


def _interleaved(groups: list[Iterator[int]]) -> Iterator[int]:
    """One of each group in turn, without repeating any."""
    seen: set[int] = set()
    waiting = list(groups)
    while waiting:
        for group in list(waiting):
            fresh = next((row for row in group if row not in seen), None)
            if fresh is None:
                waiting.remove(group)
            else:
                seen.add(fresh)
                yield fresh
