"""What a metric's numbers were made with, as an evaluation's record holds it."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class WeightsUsed:
    """A file of weights."""

    path: str
    """Where it was; the same bytes count as the same weights wherever they are."""
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True)
class Provenance:
    """A metric's version, weights and plugins."""

    fingerprint: str
    """Hash of all that moves a number: results of two evaluations compare where it is the same."""
    version: int
    """Of the algorithm, raised by hand."""
    weights: dict[str, WeightsUsed]
    """By the setting that names them; none for surrogates."""
    plugins: dict[str, str]
    """Setting -> class and its version."""
