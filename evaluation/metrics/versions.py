"""Metrics and their hand-bumped versions: what their fingerprints are made of.

A version is raised when a metric's numbers change, not when its code merely reads better; a test
fails when the source changed and nobody said which of the two it was
(`tests/evaluation/metrics/test_versions.py`). Stored results of other versions are left alone.
"""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Version:
    """A metric's version, and the modules whose source decides its numbers."""

    version: int
    modules: tuple[str, ...]


_CLIPS = "evaluation.metrics.clips"
_CONSISTENCY = (_CLIPS, "evaluation.metrics.consistency")
_AVERAGE = (_CLIPS, "evaluation.metrics.average")
_NETWORKS = ("evaluation.metrics.embedders", "evaluation.metrics.pictures")
_FLOW = "evaluation.metrics.proxy.flow"

VERSIONS = {
    "subject_consistency": Version(
        1, (*_CONSISTENCY, *_NETWORKS, "evaluation.metrics.subject_consistency")
    ),
    "background_consistency": Version(
        1, (*_CONSISTENCY, *_NETWORKS, "evaluation.metrics.background_consistency")
    ),
    "motion_smoothness": Version(1, (_CLIPS, "evaluation.metrics.motion_smoothness")),
    "dynamic_degree": Version(
        1, (_CLIPS, "evaluation.metrics.pictures", "evaluation.metrics.dynamic_degree")
    ),
    "imaging_quality": Version(1, (*_AVERAGE, *_NETWORKS, "evaluation.metrics.imaging_quality")),
    "aesthetic_quality": Version(
        1, (*_AVERAGE, *_NETWORKS, "evaluation.metrics.aesthetic_quality")
    ),
    "proxy_subject_consistency": Version(
        1, (*_CONSISTENCY, "evaluation.metrics.proxy.subject_consistency")
    ),
    "proxy_background_consistency": Version(
        1, (*_CONSISTENCY, "evaluation.metrics.proxy.background_consistency")
    ),
    "proxy_motion_smoothness": Version(1, (_CLIPS, _FLOW, "evaluation.metrics.motion_smoothness")),
    "proxy_dynamic_degree": Version(1, (_CLIPS, _FLOW, "evaluation.metrics.dynamic_degree")),
    "proxy_imaging_quality": Version(1, (*_AVERAGE, "evaluation.metrics.proxy.imaging_quality")),
    "proxy_aesthetic_quality": Version(
        1, (*_AVERAGE, "evaluation.metrics.proxy.aesthetic_quality")
    ),
}

PROXIES = tuple(name for name in VERSIONS if name.startswith("proxy_"))
"""The surrogates, in VBench's order of what they stand in for."""
