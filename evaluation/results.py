"""What an evaluation found: the typed document that `evaluation.json` is, and that the page shows.

Means are in percent, as VBench prints them; what metrics say of single videos stays raw (0 to 1).
Everything is a plain number or string, so that a script can read the JSON; the price is that some
of it (means, differences) could be counted again from the rest.
"""

import dataclasses
from typing import Any

from evaluation.metrics.metric import PROXY_PREFIX, MetricResult, is_proxy
from evaluation.metrics.provenance import Provenance
from evaluation.statistics import Estimate
from evaluation.variants import Variant

SCHEMA_VERSION = 2
TOTAL = "total"
"""Name of VBench's total among the measures."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What a video costs; of a variant: the mean over its videos, and the largest peak."""

    petaflops: float
    """Operations of the network, guidance included, in 10^15."""
    seconds: float | None
    """Wall time, the checkpoint loaded; None for a video whose making was interrupted."""
    first_segment_seconds: float | None
    """Until the first frames of the video were there; likewise."""
    peak_bytes: int | None
    """Most memory of the process that made it (of its GPU, where there is one)."""


@dataclasses.dataclass(frozen=True, slots=True)
class PromptShown:
    """A prompt of the suite."""

    id: str
    text: str
    licence: str
    image_sha256: str
    dimensions: tuple[str, ...]
    """Metrics that count it; empty: all."""

    def counts_for(self, metric: str) -> bool:
        """Whether a metric's mean is taken over this prompt too."""
        return not self.dimensions or metric.removeprefix(PROXY_PREFIX) in self.dimensions


@dataclasses.dataclass(frozen=True, slots=True)
class JudgedVideo:
    """A video and what metrics say of it."""

    prompt: str
    variant: int
    seed: int
    key: str
    """Its folder under ``generated/``."""
    sha256: str
    frames: int
    cost: Cost
    metrics: dict[str, MetricResult]


@dataclasses.dataclass(frozen=True, slots=True)
class VariantResult:
    """A row of the table."""

    label: str
    variant: Variant
    videos: int
    cost: Cost
    metrics: dict[str, Estimate]
    total: Estimate | None
    """VBench's total score; None where a dimension is missing, and for surrogates."""

    @property
    def measures(self) -> dict[str, Estimate]:
        """The total, where there is one, and the metrics."""
        return ({TOTAL: self.total} if self.total else {}) | self.metrics


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """How much higher one variant is than another in one measure, by the prompts of both."""

    measure: str
    first: int
    second: int
    """Variants; the difference is second minus first."""
    estimate: Estimate
    p_value: float
    """Of a sign-flip test over prompts."""
    resolved: bool
    """Whether there is a difference at all, by the interval and by the test."""


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """A video that could not be made, or judged by a metric."""

    prompt: str
    label: str
    seed: int
    what: str
    """'video', or the metric's name."""
    kind: str
    """'error', 'crash', 'timeout' or 'memory'."""
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """What was judged, and by what."""

    checkpoint: str
    checkpoint_id: str | None
    fingerprint: str
    """Of the checkpoint's files."""
    suite: str
    suite_sha256: str
    recipe: str
    profile: str
    config: dict[str, Any]
    metrics: dict[str, Provenance]
    """Metric -> what judged."""
    machines: tuple[str, ...]
    """On which videos were made."""
    code: str
    run_id: str
    finished: str


@dataclasses.dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation."""

    schema_version: int
    id: str
    origin: Origin
    level: float
    """Of the intervals."""
    prompts: tuple[PromptShown, ...]
    variants: tuple[VariantResult, ...]
    differences: tuple[Comparison, ...]
    videos: tuple[JudgedVideo, ...]
    failures: tuple[Failure, ...]

    @property
    def proxy(self) -> bool:
        """Whether any number in it is a surrogate's."""
        return any(is_proxy(name) for name in self.origin.metrics)

    @property
    def measures(self) -> tuple[str, ...]:
        """The total, where there is one, and the metrics, in their order."""
        return tuple(dict.fromkeys(name for row in self.variants for name in row.measures))

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dataclasses.asdict(self)

    def table(self) -> list[dict[str, str | float | None]]:
        """A row for each variant, with plain cells: for scripts and spreadsheets."""
        rows: list[dict[str, str | float | None]] = []
        for result in self.variants:
            row: dict[str, str | float | None] = {
                "schedule": result.label,
                "videos": result.videos,
                "PFLOPs": result.cost.petaflops,
                "seconds": result.cost.seconds,
                "seconds to first segment": result.cost.first_segment_seconds,
                "peak GiB": result.cost.peak_bytes and result.cost.peak_bytes / (1 << 30),
            }
            for name, estimate in result.measures.items():
                row[name] = estimate.mean
                row[f"{name} low"] = estimate.low if estimate.has_interval else None
                row[f"{name} high"] = estimate.high if estimate.has_interval else None
            rows.append(row)
        return rows
