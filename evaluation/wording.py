"""Numbers of an evaluation as people read them: in a terminal, and in a table that is passed on.

A mean has two decimals and its interval one: more would be noise. The page has its own words.
"""

from evaluation.results import Evaluation
from evaluation.statistics import Estimate

NONE = "–"
_GIB = 1 << 30


def estimate_words(found: Estimate | None) -> str:
    """A mean and its interval, percent."""
    if found is None:
        return NONE
    if not found.has_interval:
        return f"{found.mean:.2f} (one prompt: no interval)"
    return f"{found.mean:.2f} ({found.low:.1f}…{found.high:.1f})"


def short(value: float | None) -> str:
    """A number with three digits that count."""
    return NONE if value is None else f"{value:.3g}"


def gib(size: int | None) -> str:
    """Bytes in GiB."""
    return short(None if size is None else size / _GIB)


def table_words(evaluation: Evaluation) -> list[dict[str, str]]:
    """A row for each variant: its costs, then its measures with their intervals."""
    return [
        {
            "schedule": result.label,
            "videos": str(result.videos),
            "PFLOPs a video": f"{result.cost.petaflops:.4g}",
            "seconds a video": short(result.cost.seconds),
            "seconds to its first frames": short(result.cost.first_segment_seconds),
            "peak GiB": gib(result.cost.peak_bytes),
        }
        | {name: estimate_words(result.measures.get(name)) for name in evaluation.measures}
        for result in evaluation.variants
    ]


def difference_words(evaluation: Evaluation) -> list[str]:
    """For each pair of variants that is compared, which measures differ at all."""
    pairs: dict[tuple[int, int], list[str]] = {}
    for found in evaluation.differences:
        told = pairs.setdefault((found.first, found.second), [])
        if found.resolved:
            told.append(f"{found.measure} {found.estimate.mean:+.2f}")
    names = [result.label for result in evaluation.variants]
    return [
        f"{names[second]} against {names[first]}: {', '.join(told) or 'no difference is resolved'}"
        for (first, second), told in pairs.items()
    ]
