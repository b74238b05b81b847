"""The six surrogates by name."""

from collections.abc import Callable

from evaluation.metrics.dynamic_degree import DynamicDegree
from evaluation.metrics.metric import Metric
from evaluation.metrics.motion_smoothness import MotionSmoothness
from evaluation.metrics.proxy import (
    aesthetic_quality,
    background_consistency,
    imaging_quality,
    subject_consistency,
)
from evaluation.metrics.proxy.flow import between, dis_flow

_PAIRS = 8
"""Pairs of frames at once; bounds memory, not numbers."""


def _smoothness(fingerprint: str) -> Metric:
    return MotionSmoothness("proxy_motion_smoothness", fingerprint, between, _PAIRS)


def _dynamics(fingerprint: str) -> Metric:
    return DynamicDegree("proxy_dynamic_degree", fingerprint, dis_flow, _PAIRS)


PROXIES: dict[str, Callable[[str], Metric]] = {
    "proxy_subject_consistency": subject_consistency.proxy_subject_consistency,
    "proxy_background_consistency": background_consistency.proxy_background_consistency,
    "proxy_motion_smoothness": _smoothness,
    "proxy_dynamic_degree": _dynamics,
    "proxy_imaging_quality": imaging_quality.proxy_imaging_quality,
    "proxy_aesthetic_quality": aesthetic_quality.proxy_aesthetic_quality,
}
