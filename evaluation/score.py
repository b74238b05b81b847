"""VBench's total quality score: six dimensions, normalised by their ranges, weighted, averaged.

The ranges are those that VBench fixed from its own extreme videos, and the weights those of its
leaderboard (Huang et al., VBench, CVPR 2024). The trade-off is theirs: one number that everybody
can compare, in which dynamic degree counts half although it moves most. Video models are ranked by
it in Tables 1, 3 and 4 of the paper.
"""

import dataclasses
import math
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Dimension:
    """How one quality dimension enters the total."""

    low: float
    """Raw value (0 to 1) that counts as nothing."""
    high: float
    """Raw value that counts as everything."""
    weight: float = 1.0


DIMENSIONS = {
    "subject_consistency": Dimension(0.1462, 1.0),
    "background_consistency": Dimension(0.2615, 1.0),
    "motion_smoothness": Dimension(0.706, 0.9975),
    "dynamic_degree": Dimension(0.0, 1.0, weight=0.5),
    "imaging_quality": Dimension(0.0, 1.0),
    "aesthetic_quality": Dimension(0.0, 1.0),
}
"""VBench's names. Temporal flickering, its seventh, is not measured for image-to-video."""


def total_score(metrics: Mapping[str, float]) -> float:
    """The total of the six dimensions: sum of weight * (value - low) / (high - low), over 5.5.

    Values beyond a range are not clipped; VBench does not clip them either.

    Args:
        metrics: percent (0 to 100) by VBench's names, all six.

    Returns:
        Percent.

    Raises:
        ValueError: a dimension is missing, unknown, or no percentage.
    """
    _check(metrics)
    weighted = sum(
        dimension.weight * normalised(name, metrics[name]) for name, dimension in DIMENSIONS.items()
    )
    return weighted / sum(dimension.weight for dimension in DIMENSIONS.values())


def normalised(name: str, percent: float) -> float:
    """One dimension on its range: 0 at its low end, 100 at its high end."""
    dimension = DIMENSIONS[name]
    return 100.0 * (percent / 100.0 - dimension.low) / (dimension.high - dimension.low)


def _check(metrics: Mapping[str, float]) -> None:
    missing = [name for name in DIMENSIONS if name not in metrics]
    unknown = [name for name in metrics if name not in DIMENSIONS]
    if missing or unknown:
        raise ValueError(
            f"metrics: missing {', '.join(missing) or 'none'}, unknown "
            f"{', '.join(unknown) or 'none'}; a total needs exactly {', '.join(DIMENSIONS)} "
            "(surrogates named proxy_* have no total)"
        )
    for name, percent in metrics.items():
        if not (math.isfinite(percent) and 0.0 <= percent <= 100.0):
            raise ValueError(f"metrics[{name!r}] = {percent}: give percent, 0 to 100")
