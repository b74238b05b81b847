"""What the report says: the typed document that `report.json` is, and that the page shows.

Everything here is a plain number or string, so that a script can read the JSON and a test can hold
the page against it. The price is that what the page draws differently from how a script would ask
(a histogram's edges, a sentence) stands here in the page's form.
"""

import dataclasses
from typing import Any

SCHEMA_VERSION = 1
FRAME_RATES = (6, 12, 24)
"""The frame rates at which the model is trained (TempoMaster §3.1)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Amount:
    """A number of clips, and how long they are together."""

    clips: int
    hours: float


@dataclasses.dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should know before training on the version."""

    severity: str
    """'error': do not train on it; 'warning': look first; 'note': good to know."""
    title: str
    detail: str
    remedy: str
    section: str
    """Anchor of the section of the page that shows more."""


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """The report in one line."""

    state: str
    """The worst severity among the alerts, 'good' when there is no error and no warning."""
    headline: str
    sentence: str


@dataclasses.dataclass(frozen=True, slots=True)
class Loss:
    """What a step costs for one reason."""

    reason: str
    amount: Amount
    """All that the reason applies to; what has several reasons counts in each."""
    alone: Amount
    """What has no other reason: it comes back when this one is lifted."""


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """A step of the funnel, and what it lost of the one before."""

    name: str
    unit: str
    """What `count` counts: 'films', 'clips' or 'samples'."""
    count: int
    hours: float
    losses: tuple[Loss, ...]
    note: str


@dataclasses.dataclass(frozen=True, slots=True)
class Histogram:
    """Counts in bins; bin k is ``edges[k] <= value < edges[k+1]``, the last one closed.

    What lies outside the edges is counted in the first or last bin.
    """

    scale: str
    """'linear' or 'log'."""
    edges: tuple[float, ...]
    series: dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True, slots=True)
class Measurement:
    """How one measurement is distributed."""

    name: str
    """The threshold's name where the policy has one for it, else the column's."""
    column: str
    label: str
    unit: str
    about: str
    missing: int
    quantiles: dict[str, float]
    """Of all clips: 'min', 'p05', 'p50', 'p95', 'max'; empty when nothing was measured."""
    histogram: Histogram
    """Series 'all' and 'packed'."""


@dataclasses.dataclass(frozen=True, slots=True)
class Threshold:
    """A range of the policy."""

    name: str
    column: str
    min: float | None
    max: float | None
    recipe_min: float | None
    """What the recipe has before anything is overridden."""
    recipe_max: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Bucket:
    """The yield of one size: `usable` counts frames by rate, in runs of 4n+1."""

    size: str
    amount: Amount
    usable: dict[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class WhatIf:
    """The yield of the version's own policy, before the steps that look at the whole set."""

    thresholds: tuple[Threshold, ...]
    kept: Amount
    usable: dict[str, int]
    """Frame rate -> frames in runs of 4n+1."""
    buckets: tuple[Bucket, ...]
    population: int
    """Clips that the policy was held against."""
    embedded: int
    """Clips whose measurements the page holds; fewer than `population` when it samples."""


@dataclasses.dataclass(frozen=True, slots=True)
class Repeated:
    """A caption that several samples share."""

    caption: str
    samples: int


@dataclasses.dataclass(frozen=True, slots=True)
class Captions:
    """The words of the version."""

    by_captioner: dict[str, int]
    words: Histogram
    """Series 'samples'; tags are not counted as words."""
    median_words: float
    empty: int
    distinct: int
    repeated_samples: int
    """Samples whose caption another sample has too."""
    repeated: tuple[Repeated, ...]
    multishot_tags: int
    scene_cut_tags: int
    broken_tags: int
    """Samples whose tags do not fit their shots."""


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """One value of something that is counted."""

    name: str
    count: int
    hours: float


@dataclasses.dataclass(frozen=True, slots=True)
class Composition:
    """What the version is made of."""

    kinds: tuple[Share, ...]
    shots_per_sample: tuple[Share, ...]
    clip_uses: tuple[Share, ...]
    """In how many samples a packed clip stands."""
    sizes: tuple[Share, ...]
    durations: Histogram
    """Series 'train' and 'val', in seconds."""
    below_stage_one: int
    """Samples of fewer than 121 frames, which stage 1 of training takes (TempoMaster §4.1)."""
    rates: tuple[Share, ...]
    codecs: tuple[Share, ...]
    containers: tuple[Share, ...]
    licences: tuple[Share, ...]
    films: tuple[Share, ...]
    """Sources by their part in the version, the largest first."""
    films_unused: int
    """Readable films of which nothing was packed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Trouble:
    """Films, clips or samples that went wrong in the same way."""

    where: str
    """'partial', 'quarantined', 'caption' or 'packing'."""
    reason: str
    count: int
    examples: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """A training and a validation clip that look alike."""

    train: str
    val: str
    distance: float
    """Share of the bits by which the perceptual hashes of their frames differ (median)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Leakage:
    """Whether validation is kept apart from training."""

    films_on_both_sides: tuple[str, ...]
    compared_train: int
    compared_val: int
    total_train: int
    total_val: int
    pairs: tuple[Pair, ...]
    """The closest first, at most `leakage.MAX_PAIRS`."""
    pairs_found: int


@dataclasses.dataclass(frozen=True, slots=True)
class Shift:
    """How far a measurement of the packed clips moved from another version to this one."""

    name: str
    label: str
    unit: str
    psi: float
    """Population stability index; by custom < 0.1 is stable, > 0.25 a shift."""
    ks: float
    """Two-sample Kolmogorov–Smirnov statistic: the largest gap of the distributions."""
    p_value: float
    median_before: float
    median_now: float
    histogram: Histogram
    """Series 'before' and 'now'."""


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A setting or fingerprint that is not what it was; None where there was none."""

    what: str
    before: str | None
    now: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Drift:
    """What is different from another version."""

    reference: str
    settings: tuple[Change, ...]
    fingerprints: tuple[Change, ...]
    films_added: int
    films_removed: int
    clips_added: int
    clips_removed: int
    clips_common: int
    shifts: tuple[Shift, ...]
    """The largest PSI first."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shard:
    """A shard as it was published, and as it lies on the disk now."""

    name: str
    split: str
    bytes: int
    samples: int
    frames: int
    seconds: float
    sha256: str
    state: str
    """'sha256 matches', 'in place' (of the right size; too large to hash for a report), 'missing',
    'other size' or 'other sha256'. `tempo verify` decodes every sample besides."""
    verified: str | None
    """What the last verification found: 'sound' or '2 disagreements'; None when there was none."""


@dataclasses.dataclass(frozen=True, slots=True)
class Verified:
    """The last time that `tempo verify` read the version again."""

    when: str
    host: str
    """The machine that read it."""
    code_version: str
    run_id: str
    """Its row in `runs`."""
    frames: int
    """Decoded as declared."""
    wrong: dict[str, int]
    """File -> how much in it did not agree; empty when the version was sound."""

    @property
    def verdict(self) -> str:
        """All of it in words."""
        return _agreement(sum(self.wrong.values()))

    def of(self, shard: str) -> str:
        """What it found of a shard, in words."""
        return _agreement(self.wrong.get(f"{shard}.tar", 0))


def _agreement(wrong: int) -> str:
    return f"{wrong} disagreement{'s' * (wrong != 1)}" if wrong else "sound"


@dataclasses.dataclass(frozen=True, slots=True)
class Provenance:
    """What made the version."""

    recipe: str
    fingerprints: dict[str, str]
    captioners: tuple[str, ...]
    config: dict[str, Any]
    manifest_sha256: str
    publish_id: str
    run_id: str
    folder: str
    sources: tuple[Share, ...]
    """Folders that the films were read from."""


@dataclasses.dataclass(frozen=True, slots=True)
class Totals:
    """The key numbers."""

    films: int
    films_used: int
    film_hours: float
    clips: Amount
    packed: Amount
    samples: int
    train_samples: int
    val_samples: int
    sample_hours: float
    shards: int
    bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """The report of one dataset version."""

    schema_version: int
    reference: str
    published: str
    """When the version was published (UTC); the report has no time of its own."""
    verdict: Verdict
    alerts: tuple[Alert, ...]
    totals: Totals
    funnel: tuple[Stage, ...]
    whatif: WhatIf
    measurements: tuple[Measurement, ...]
    captions: Captions
    composition: Composition
    drift: Drift | None
    leakage: Leakage
    troubles: tuple[Trouble, ...]
    shards: tuple[Shard, ...]
    verified: Verified | None
    """The last verification; None when there was none."""
    provenance: Provenance

    def json(self) -> dict[str, Any]:
        """As `report.json` holds it."""
        return dataclasses.asdict(self)
