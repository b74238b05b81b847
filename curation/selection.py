"""Which clips are kept: a pure function of measurements and a policy.

Scoring and deciding are apart, so that a threshold is moved in seconds over millions of rows and
nothing is decoded again. All comparisons are made in float32, here and wherever a yield is
predicted, so that every reader agrees about a clip that lies exactly on a threshold.
"""

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Closed interval of what is kept; an end that is None is open."""

    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        for end in (self.min, self.max):
            if end is not None and not math.isfinite(end):
                raise ValueError(f"range end {end}: give a finite number, or leave the end open")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"range {self.min} to {self.max} is empty: min must not exceed max")

    @property
    def open(self) -> bool:
        """True when nothing can fall outside."""
        return self.min is None and self.max is None


COLUMNS = {
    "seconds": "seconds",
    "fps": "source_fps",
    "short_side": "short_side",
    "clarity": "clarity_mean",
    "luma": "luma_mean",
    "contrast": "luma_std",
    "shadows": "shadows_clipped",
    "highlights": "highlights_clipped",
    "motion": "motion_magnitude",
    "static": "motion_static",
    "coherence": "motion_coherence",
    "distortion": "motion_distortion",
    "duplicated": "duplicated_share",
}
"""Threshold of the policy -> column of `clips` that it is held against."""

SCORES = {"aesthetic": "laion", "technical": "technical"}
"""Threshold of the policy -> scorer whose score it is held against, in a column of its name."""


@dataclasses.dataclass(frozen=True, slots=True)
class SelectionPolicy:
    """What a clip must be like. Units are those of `curation.records.ClipRow`.

    The defaults are calibrated on the development films (docs/curation.md): a lower bound of 200
    for clarity, as a published recipe has it, drops all their live-action cinema and television.
    """

    seconds: Range = Range(min=2.0)
    fps: Range = Range(min=23.0)
    short_side: Range = Range(min=360)
    clarity: Range = Range(min=20.0, max=4000.0)
    luma: Range = Range(min=16.0, max=235.0)
    contrast: Range = Range(min=6.0)
    shadows: Range = Range()
    highlights: Range = Range()
    motion: Range = Range(min=0.005, max=1.5)
    static: Range = Range(max=0.98)
    coherence: Range = Range()
    distortion: Range = Range(max=0.6)
    duplicated: Range = Range(max=0.1)
    aesthetic: Range = Range()
    """LAION's score, about 1 to 10."""
    technical: Range = Range()
    """The technical score, 0 to 10: another measure, on another scale."""
    licences: tuple[str, ...] = ()
    """Only films under one of these licences; empty: any, also unknown."""

    def columns(self) -> list[str]:
        """The columns of `clips` that the closed thresholds are held against."""
        return [column for name, column in COLUMNS.items() if not getattr(self, name).open]

    def scores(self) -> dict[str, str]:
        """The closed thresholds that are held against scores, and their scorers."""
        return {name: scorer for name, scorer in SCORES.items() if not getattr(self, name).open}


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """The verdict on each clip, in the order of the clips."""

    rules: tuple[str, ...]
    """Reason codes; bit k of `failed` stands for rules[k]."""
    failed: npt.NDArray[np.uint64]
    """[n] bit set of the rules that the clip breaks; 0 means kept."""

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """[n] True where no rule is broken."""
        return np.equal(self.failed, 0)

    def reasons(self, index: int) -> list[str]:
        """Every reason for which clip `index` is dropped."""
        bits = int(self.failed[index])
        return [rule for k, rule in enumerate(self.rules) if bits >> k & 1]

    def broken_by(self, rule: int) -> npt.NDArray[np.bool_]:
        """[n] True where rules[rule] is broken, alone or among others."""
        bit: npt.NDArray[np.uint64] = self.failed & np.uint64(1 << rule)
        return np.not_equal(bit, 0)

    def first_broken(self) -> npt.NDArray[np.int64]:
        """[n] index of the first broken rule in the policy's order, -1 where kept."""
        first = np.full(len(self.failed), -1, dtype=np.int64)
        for rule in reversed(range(len(self.rules))):
            first[self.broken_by(rule)] = rule
        return first


def select(clips: pa.Table, policy: SelectionPolicy) -> Selection:
    """Hold each clip against the policy.

    Args:
        clips: columns of `clips`, and `aesthetic` and `technical`; those of closed thresholds
            suffice. `licence` is needed when the policy names licences.
        policy: the thresholds.

    Returns:
        All broken rules of each clip, e.g. ``motion_low``, ``clarity_high``, ``luma_missing``.
    """
    rules: list[str] = []
    failed = np.zeros(clips.num_rows, dtype=np.uint64)

    def add(rule: str, broken: npt.NDArray[np.bool_]) -> None:
        failed[broken] |= np.uint64(1 << len(rules))
        rules.append(rule)

    for name, column in (COLUMNS | {name: name for name in SCORES}).items():
        bounds: Range = getattr(policy, name)
        if bounds.open:
            continue
        values, missing = _float32(clips[column])
        add(f"{name}_missing", missing)
        if bounds.min is not None:
            add(f"{name}_low", ~missing & (values < np.float32(bounds.min)))
        if bounds.max is not None:
            add(f"{name}_high", ~missing & (values > np.float32(bounds.max)))
    if policy.licences:
        allowed = pc.is_in(clips["licence"], value_set=pa.array(policy.licences))
        add("licence", ~allowed.to_numpy(zero_copy_only=False).astype(np.bool_))
    return Selection(tuple(rules), failed)


def _float32(
    column: pa.ChunkedArray,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    values = pc.cast(column, pa.float32(), safe=False).to_numpy().astype(np.float32, copy=False)
    return values, np.isnan(values)
