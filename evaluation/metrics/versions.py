"""Metrics and their hand-bumped versions: what their fingerprints are made of.

A version is raised when a metric's numbers change, not when its code merely reads better; a test
fails when the source changed and nobody said which of the two it was
(`tests/evaluation/metrics/test_versions.py`). Stored results of other versions are left alone.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Version:
    """A metric's version, and the modules where its numbers are made (those they import too)."""

    version: int
    entries: tuple[str, ...]


_HERE = "evaluation.metrics"

VERSIONS = {
    "subject_consistency": Version(1, (f"{_HERE}.subject_consistency",)),
    "background_consistency": Version(1, (f"{_HERE}.background_consistency",)),
    "motion_smoothness": Version(1, (f"{_HERE}.motion_smoothness",)),
    "dynamic_degree": Version(1, (f"{_HERE}.dynamic_degree", f"{_HERE}.raft")),
    "imaging_quality": Version(1, (f"{_HERE}.imaging_quality",)),
    "aesthetic_quality": Version(1, (f"{_HERE}.aesthetic_quality",)),
    "proxy_subject_consistency": Version(1, (f"{_HERE}.proxy.subject_consistency",)),
    "proxy_background_consistency": Version(1, (f"{_HERE}.proxy.background_consistency",)),
    "proxy_motion_smoothness": Version(1, (f"{_HERE}.motion_smoothness", f"{_HERE}.proxy.flow")),
    "proxy_dynamic_degree": Version(1, (f"{_HERE}.dynamic_degree", f"{_HERE}.proxy.flow")),
    "proxy_imaging_quality": Version(1, (f"{_HERE}.proxy.imaging_quality",)),
    "proxy_aesthetic_quality": Version(1, (f"{_HERE}.proxy.aesthetic_quality",)),
}

PROXIES = tuple(name for name in VERSIONS if name.startswith("proxy_"))
"""The surrogates, in VBench's order of what they stand in for."""
